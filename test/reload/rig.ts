// Files that a running broker is to read anew, and clients that must notice nothing of it.
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { afterAll, expect } from 'vitest';
import type { Certificates } from '../certificates.ts';
import { type ClientOptions, type MqttJs, mqttJs } from '../end-to-end/mqttjs.ts';

/** The files of one broker, each under the name that the configuration has for it. */
export class LiveFiles {
  readonly folder = mkdtempSync(join(tmpdir(), 'lethe-reload-'));

  constructor() {
    afterAll(() => rmSync(this.folder, { recursive: true, force: true }));
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  write(name: string, text: string): string {
    writeFileSync(this.path(name), text, { mode: 0o600 });
    return this.path(name);
  }

  copy(name: string, from: string): void {
    rmSync(this.path(name), { recursive: true, force: true });
    copyFileSync(from, this.path(name));
  }

  /** Certificate and key of the server, and the authorities of these. */
  serve(server: Certificates, ...authorities: readonly Certificates[]): void {
    this.copy('cert.pem', server.serverCert);
    this.copy('key.pem', server.serverKey);
    rmSync(this.path('ca.pem'), { recursive: true, force: true });
    this.write('ca.pem', authorities.map(({ ca }) => readFileSync(ca, 'utf8')).join(''));
  }

  /** The lines of a listener that name them. */
  get lines(): string {
    return `cert_file = '${this.path('cert.pem')}'\nkey_file = '${this.path('key.pem')}'`;
  }
}

/** SHA-256 of the certificate that a port serves. */
export function servedBy(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false });
    socket.once('error', reject);
    socket.once('secureConnect', () => {
      resolve(socket.getPeerX509Certificate()!.fingerprint256);
      socket.destroy();
    });
  });
}

/** A publisher and a subscriber that never stop, over one transport. */
export class Traffic {
  readonly #publisher: MqttJs;
  readonly #subscriber: MqttJs;
  readonly #topic: string;
  #sent = 0;
  #isOver = false;
  readonly #done: Promise<void>;

  static async start(options: ClientOptions, topic: string): Promise<Traffic> {
    const name = topic.replaceAll('/', '-');
    const publisher = await mqttJs({ level: 5, ...options, clientId: `p-${name}` });
    const subscriber = await mqttJs({ level: 5, ...options, clientId: `s-${name}` });
    expect(await subscriber.subscribe(topic, 1)).toEqual([1]);
    return new Traffic(publisher, subscriber, topic);
  }

  private constructor(publisher: MqttJs, subscriber: MqttJs, topic: string) {
    this.#publisher = publisher;
    this.#subscriber = subscriber;
    this.#topic = topic;
    this.#done = this.#run();
  }

  async #run(): Promise<void> {
    while (!this.#isOver) await this.#publisher.publish(this.#topic, String(this.#sent++), { qos: 1 });
  }

  /** Waits until some more of it has arrived. */
  async flows(): Promise<void> {
    await this.#subscriber.received(this.#sent + 20);
  }

  /** Nobody was disconnected, and everything has arrived, in order, once. */
  async proveWhole(): Promise<void> {
    this.#isOver = true;
    await this.#done;
    await this.#subscriber.received(this.#sent);
    expect(this.#subscriber.payloads).toEqual(Array.from({ length: this.#sent }, (_, i) => String(i)));
    for (const client of [this.#publisher, this.#subscriber]) {
      expect(client.closed).toBe(false);
      await client.end();
    }
  }
}
