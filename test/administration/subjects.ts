// A broker with a data directory full of canaries, and the questions that an operator asks it, over its socket or on the directory that it has left.
import { builtFile } from '../../bench/contestants/built-file.ts';
import { type Broker, type Config, createBroker, loadConfig } from '../../engine/lethe.ts';
import { administer } from '../../engine/shards/stopped-directory.ts';
import { Client, type ClientOptions, type Message } from '../forgetting/client.ts';
import { Place } from '../forgetting/place.ts';

export const Trust = { ALL: 'all', AS_CONFIGURED: 'as configured' } as const;
export type Trust = (typeof Trust)[keyof typeof Trust];

export class Subjects {
  readonly place = new Place();
  readonly config: Config;
  readonly #broker: Broker;

  private constructor(broker: Broker, place: Place, config: Config) {
    this.#broker = broker;
    this.place = place;
    this.config = config;
  }

  /** Every user name is believed, unless the configuration is to judge. */
  static async start(
    threads: number,
    set: readonly string[] = [],
    place = new Place(),
    trust: Trust = Trust.ALL,
  ): Promise<Subjects> {
    const config = loadConfig({
      set: [
        `server.threads=${threads}`,
        `server.data_dir=${place.folder}`,
        'server.sys_interval_s=0',
        'listener.tcp.port=0',
        'listener.ws.port=0',
        ...set,
      ],
    });
    const gate = trust === Trust.ALL ? { gate: builtFile('test/forgetting/trusting-gate.js') } : {};
    const broker = await createBroker({ config, ...gate });
    return new Subjects(broker, place, config);
  }

  stop(): Promise<void> {
    return this.#broker.stop();
  }

  text(name: string): string {
    return this.place.text(name);
  }

  connect(name: string, options: Partial<ClientOptions> = {}): Promise<Client> {
    return Client.connect(this.#broker.tcp, {
      clientId: this.text(`${name}.client`),
      username: this.text(`${name}.username`),
      ...options,
    });
  }

  /** A session that has subscribed and gone away. */
  async sleeper(name: string, filter: string, options: Partial<ClientOptions> = {}): Promise<void> {
    const client = await this.connect(name, options);
    await client.subscribe(filter);
    client.cut();
  }

  async publish(...messages: readonly Message[]): Promise<void> {
    const from = await Client.connect(this.#broker.tcp, { clientId: '', clean: true, expiryS: 0 });
    for (const message of messages) await from.publish(message);
    await from.leave();
  }

  async ask<Answer>(method: string, path: string, body?: unknown): Promise<Answer> {
    const { status, body: answer } = await administer(this.config, method, path, body);
    if (status !== 200) throw new Error(`${status}: ${(answer as { error: string }).error}`);
    return answer as Answer;
  }

  /** Names of the canaries that can be found now and begin so. */
  left(prefix: string): string[] {
    const { found } = this.place.scan();
    return [...new Set(found.filter(({ name }) => name.startsWith(prefix) || name === '').map(({ name }) => name))].sort();
  }
}
