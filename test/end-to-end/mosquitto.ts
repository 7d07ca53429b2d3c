// Mosquitto's command line clients, as real clients of the broker.
import { Child } from './child.ts';

export type Level = 3 | 4 | 5;

const VERSIONS: Readonly<Record<Level, string>> = { 3: 'mqttv31', 4: 'mqttv311', 5: 'mqttv5' };

/** Where to, and as which protocol. */
export interface Way {
  readonly port: number;
  readonly level?: Level;
  /** The authority of the server's certificate: with it the connection is encrypted. */
  readonly ca?: string;
}

/** A message as `mosquitto_sub -F %j` prints it. */
export interface Printed {
  readonly topic: string;
  readonly qos: number;
  readonly retain: number;
  readonly payload: string | null;
  readonly properties?: Readonly<Record<string, unknown>>;
}

/** A running mosquitto_sub. */
export class MosquittoSub extends Child {
  constructor(way: Way, args: readonly string[]) {
    // -d tells of the SUBACK; without stdbuf that would stay in the buffer of the pipe.
    super('stdbuf', ['-oL', 'mosquitto_sub', ...wayArguments(way), '-d', '-F', '%j', ...args]);
  }

  get messages(): Printed[] {
    return this.#lines.filter((line) => line.startsWith('{')).map((line) => JSON.parse(line) as Printed);
  }

  get payloads(): (string | null)[] {
    return this.messages.map(({ payload }) => payload);
  }

  subscribed(): Promise<void> {
    return this.until('mosquitto_sub has its SUBACK', () => this.#lines.some((line) => line.endsWith('received SUBACK')));
  }

  received(count: number): Promise<void> {
    return this.until(`mosquitto_sub has ${count} messages`, () => this.messages.length >= count);
  }

  /** Complete lines only. */
  get #lines(): string[] {
    return this.stdout.split('\n').slice(0, -1);
  }
}

export async function mosquittoSub(way: Way, ...args: readonly string[]): Promise<MosquittoSub> {
  const sub = new MosquittoSub(way, args);
  await sub.subscribed();
  return sub;
}

/** Runs mosquitto_pub to its end; `input` is for `-l` and `-s`. Fails unless it succeeds. */
export async function mosquittoPub(way: Way, args: readonly string[], input: string | Uint8Array = ''): Promise<Child> {
  const pub = new Child('mosquitto_pub', [...wayArguments(way), ...args], { input });
  const { code } = await pub.ended();
  if (code !== 0) throw new Error(`mosquitto_pub ended with ${code}: ${pub.stderr}`);
  return pub;
}

export function wayArguments({ port, level = 4, ca }: Way): string[] {
  const encryption = ca === undefined ? [] : ['--cafile', ca];
  return ['-h', '127.0.0.1', '-p', String(port), '-V', VERSIONS[level], ...encryption];
}
