// `lethe pub`: publishes a message, or each line of standard input, and ends when the broker has acknowledged all of it.
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import type { IConnackPacket, IPublishPacket, Packet } from 'mqtt';
import { REMAINING_LENGTH_MAX } from '../../protocol/limits.ts';
import { type Client, openClient } from './client-connection.ts';
import {
  addClientOptions,
  type ClientFlags,
  type ClientSettings,
  clientCommand,
  clientSettings,
  isTopicName,
  NOT_A_NAME,
  refuse,
  seconds,
  whole,
} from './client-options.ts';
import { ExitCode, exitCodesHelp, interruptedBy } from './exit-code.ts';
import { endWith, Failure, messageOf } from './failure.ts';
import { explainReason } from './reason-text.ts';

interface PubFlags extends ClientFlags {
  readonly topic?: string;
  readonly message?: string;
  readonly file?: string;
  readonly stdinLine?: true;
  readonly stdinFile?: true;
  readonly nullMessage?: true;
  readonly retain?: true;
  readonly repeat?: number;
  readonly repeatDelay?: number;
  readonly maxInflight: number;
}

const examples = `
Examples:
  lethe pub -t sensors/door -m open                   one message
  lethe pub -t sensors/door -m open -q 1 -r           retained, acknowledged by the broker
  lethe pub -t sensors/door -n -r                     forget the retained message
  lethe pub -t camera/1 -f picture.jpg                a file, byte for byte
  tail -f log | lethe pub -t log -l                   each line as a message
  lethe pub -t jobs -m 7 -D publish response-topic answers -D publish user-property trace 42
  LETHE_PASSWORD=secret lethe pub -h host -p 8883 --cafile ca.pem -u ada -t a -m x`;

const PROPERTY_COMMANDS = ['connect', 'publish', 'disconnect', 'will'] as const;
const REPEAT_MAX = 1_000_000_000;
const INFLIGHT_MAX = 65_535;
const INFLIGHT_DEFAULT = 20;
/** Messages of QoS 0 handed to MQTT.js and not yet to the socket. */
const UNSENT_MAX = 1_000;
const LINE_FEED = 0x0a;

export function pubCommand(): Command {
  const command = clientCommand('pub')
    .description('publish a message, or each line of standard input')
    .option('-t, --topic <topic>', 'topic to publish to')
    .option('-m, --message <payload>', 'publish this')
    .option('-f, --file <file>', 'publish the content of a file')
    .option('-s, --stdin-file', 'publish standard input as one message')
    .option('-l, --stdin-line', 'publish each line of standard input as a message')
    .option('-n, --null-message', 'publish an empty message')
    .option('-r, --retain', 'have the broker retain the message')
    .option(
      '--repeat <count>',
      'publish the message this many times, each when the one before is acknowledged',
      whole(1, REPEAT_MAX),
    )
    .option('--repeat-delay <seconds>', 'wait so long between two of them', seconds(0))
    .option(
      '-M, --max-inflight <count>',
      'with -l: messages of QoS 1 and 2 on their way at once',
      whole(1, INFLIGHT_MAX),
      INFLIGHT_DEFAULT,
    )
    .addHelpText('after', examples)
    .addHelpText('after', exitCodesHelp);
  addClientOptions(command, PROPERTY_COMMANDS);
  return command.action(async (flags: PubFlags) => {
    try {
      const settings = clientSettings(command, flags, PROPERTY_COMMANDS);
      const topic = judge(command, flags, settings);
      await publish(flags, settings, topic);
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      endWith('pub', error, flags.quiet);
    }
  });
}

/** The topic. */
function judge(command: Command, flags: PubFlags, { address }: ClientSettings): string {
  if (flags.topic !== undefined && address.topic !== undefined) refuse(command, 'the topic is given twice: by -t and in -L');
  const topic = flags.topic ?? address.topic;
  if (topic === undefined) refuse(command, 'no topic: give -t');
  if (!isTopicName(topic)) refuse(command, `-t '${topic}' ${NOT_A_NAME}`);
  const sources = {
    '-m': flags.message,
    '-f': flags.file,
    '-s': flags.stdinFile,
    '-l': flags.stdinLine,
    '-n': flags.nullMessage,
  };
  const given = Object.entries(sources).flatMap(([name, value]) => (value === undefined ? [] : [name]));
  if (given.length !== 1)
    refuse(command, `give one of -m, -f, -s, -l, -n${given.length === 0 ? '' : `, not ${given.join(' and ')}`}`);
  if (flags.stdinLine === true && flags.repeat !== undefined) refuse(command, '--repeat does not go with -l');
  if (flags.repeatDelay !== undefined && flags.repeat === undefined) refuse(command, '--repeat-delay needs --repeat');
  return topic;
}

async function publish(flags: PubFlags, settings: ClientSettings, topic: string): Promise<void> {
  const payload = flags.stdinLine === true ? null : await readPayload(flags);
  const client = await openClient(settings, { reconnects: false });
  const stopped = stopOnSignals();
  try {
    const connack = await Promise.race([client.accepted, stopped]);
    const publisher = new Publisher(client, connack, flags, settings, topic);
    const published = payload === null ? publisher.lines() : publisher.repeated(payload);
    await Promise.race([published, client.lost.then((failure) => Promise.reject(failure)), stopped]);
    await client.end();
    const failure = client.dismissal() ?? publisher.failure();
    if (failure !== null) throw failure;
  } finally {
    await client.end();
    // An unfinished read would keep the process alive.
    if (flags.stdinLine === true) process.stdin.destroy();
  }
}

/** Rejects with the first signal; the second one ends the process. */
function stopOnSignals(): Promise<never> {
  let stopping = false;
  const stopped = new Promise<never>((_resolve, reject) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.on(signal, () => {
        if (stopping) process.exit(interruptedBy[signal]);
        stopping = true;
        reject(new Failure('interrupted before everything was published', interruptedBy[signal]));
      });
    }
  });
  stopped.catch(() => {});
  return stopped;
}

async function readPayload(flags: PubFlags): Promise<Buffer> {
  if (flags.message !== undefined) return Buffer.from(flags.message);
  if (flags.file !== undefined) {
    try {
      return await readFile(flags.file);
    } catch (error) {
      throw new Failure(`-f ${flags.file} cannot be read: ${messageOf(error)}`);
    }
  }
  if (flags.stdinFile !== true) return Buffer.alloc(0);
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
  const payload = Buffer.concat(chunks);
  // A command before the pipe that failed must not clear a retained message.
  if (payload.length === 0) throw new Failure('standard input is empty; -n publishes an empty message');
  return payload;
}

class Publisher {
  readonly #client: Client;
  readonly #topic: string;
  readonly #flags: PubFlags;
  readonly #options: Pick<IPublishPacket, 'qos' | 'retain' | 'properties'>;
  readonly #inflightMax: number;
  #inflight = 0;
  #changed: () => void = () => {};
  #refusals = 0;
  #firstRefusal = '';

  constructor(client: Client, connack: IConnackPacket, flags: PubFlags, settings: ClientSettings, topic: string) {
    const { qos } = flags;
    this.#client = client;
    this.#topic = topic;
    this.#flags = flags;
    const { publish: properties } = settings.properties;
    this.#options = { qos, retain: flags.retain === true, ...(properties === undefined ? {} : { properties }) };
    const receiveMaximum = connack.properties?.receiveMaximum ?? INFLIGHT_MAX;
    this.#inflightMax = qos === 0 ? UNSENT_MAX : Math.min(flags.maxInflight, receiveMaximum);
  }

  /** What the broker did not take; null when it took everything. */
  failure(): Failure | null {
    if (this.#refusals === 0) return null;
    const many = this.#refusals === 1 ? 'the message' : `${this.#refusals} messages; the first`;
    return new Failure(`the broker did not take ${many}: ${this.#firstRefusal}`, ExitCode.REFUSED);
  }

  async repeated(payload: Buffer): Promise<void> {
    const { repeat = 1, repeatDelay } = this.#flags;
    for (let done = 0; done < repeat; done++) {
      // The connection keeps the process alive, and so a signal can end it while it waits.
      if (done > 0 && repeatDelay !== undefined) await sleep(repeatDelay * 1_000, undefined, { ref: false });
      this.#send(payload);
      await this.#below(1);
    }
  }

  async lines(): Promise<void> {
    for await (const line of linesOf(process.stdin)) {
      this.#send(line);
      await this.#below(this.#inflightMax);
    }
    await this.#below(1);
  }

  #send(payload: Buffer): void {
    const most = REMAINING_LENGTH_MAX - Buffer.byteLength(this.#topic);
    if (payload.length > most)
      throw new Failure(`a payload of ${payload.length} bytes is more than MQTT can carry, ${most} bytes`);
    this.#inflight++;
    this.#client.mqtt.publish(this.#topic, payload, this.#options, (error, packet) => {
      // A connection that is lost ends the run, and says why.
      if (error && !this.#client.mqtt.connected) return;
      this.#inflight--;
      if (error) this.#refused(error, packet);
      this.#changed();
    });
  }

  #refused(error: Error, packet: Packet | undefined): void {
    const code = 'code' in error && typeof error.code === 'number' ? error.code : null;
    const detail = packet !== undefined && 'properties' in packet ? (packet.properties as { reasonString?: string }) : undefined;
    if (this.#refusals++ === 0) this.#firstRefusal = code === null ? messageOf(error) : explainReason(code, detail?.reasonString);
  }

  /** Resolves when fewer than `count` messages are on their way. */
  async #below(count: number): Promise<void> {
    while (this.#inflight >= count) {
      await new Promise<void>((resolve) => {
        this.#changed = resolve;
      });
    }
  }
}

/** Lines of a stream as bytes, without their line feeds; also the last one, when it has none. */
async function* linesOf(stream: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let begun: Buffer[] = [];
  for await (const chunk of stream) {
    let from = 0;
    for (let to = chunk.indexOf(LINE_FEED); to >= 0; to = chunk.indexOf(LINE_FEED, from)) {
      yield Buffer.concat([...begun, chunk.subarray(from, to)]);
      begun = [];
      from = to + 1;
    }
    if (from < chunk.length) begun.push(chunk.subarray(from));
  }
  if (begun.length > 0) yield Buffer.concat(begun);
}
