// One run of `lethe sub`: subscribes, writes what arrives to standard output, and ends in order.
//
// A message is acknowledged once its bytes are written. One that will not be shown any more, because the count of -C is full or the
// reader has gone, is left with the broker, unacknowledged: a session that lives on still has it. A message of QoS 2 is taken on arrival
// (PUBREC) and shown when it is released (PUBREL): in between a place in the count is reserved for it, and the end waits for it.
import { setTimeout as sleep } from 'node:timers/promises';
import type { IPublishPacket, MqttClient } from 'mqtt';
import type { ISubackPacket } from 'mqtt-packet';
import { covers } from '../security/filter.ts';
import { NOT_TAKEN, openClient } from './client-connection.ts';
import type { ClientSettings, QoS } from './client-options.ts';
import { ExitCode, interruptedBy } from './exit-code.ts';
import { Failure, messageOf } from './failure.ts';
import type { MessageFormat } from './message-format.ts';
import { explainReason } from './reason-text.ts';
import { isReaderGone } from './terminal.ts';

export interface Subscription {
  readonly filters: readonly string[];
  readonly unsubscribe: readonly string[];
  /** Filters of topics that are not shown. */
  readonly hidden: readonly Uint8Array[];
  readonly qos: QoS;
  /** `only` ends the run with the first message that was not retained. */
  readonly retained: 'show' | 'skip' | 'only';
  readonly removeRetained: boolean;
  readonly retainAsPublished: boolean;
  readonly retainHandling: number;
  readonly format: MessageFormat;
  readonly endOfMessage: Uint8Array;
  /** Messages to show; may be infinite. */
  readonly count: number;
  readonly timeoutS: number | null;
  readonly endsWhenSubscribed: boolean;
  /** Takes a remark for the person. */
  readonly tell: (message: string) => void;
}

/** How long the end waits for the release of messages that are taken. */
const RELEASE_MS_MAX = 1_000;

type Fate = 'show' | 'hide' | 'end';
type Acknowledge = NonNullable<MqttClient['options']['customHandleAcks']>;

export class Subscriber {
  readonly #settings: ClientSettings;
  readonly #wanted: Subscription;
  /** Resolves when the run is over: with null when all is fine. */
  readonly #over: Promise<Failure | null>;
  #finish: (failure: Failure | null) => void = () => {};
  #isOver = false;
  #isConnected = false;
  #shown = 0;
  /** Packet identifiers of QoS 2 messages that are taken and not shown yet. */
  readonly #taken = new Set<number>();
  #allShown: () => void = () => {};
  /** Of the message at hand; null when nothing is written for it. */
  #written: Promise<void> | null = null;

  constructor(settings: ClientSettings, wanted: Subscription) {
    this.#settings = settings;
    this.#wanted = wanted;
    this.#over = new Promise((resolve) => {
      this.#finish = (failure) => {
        this.#isOver = true;
        resolve(failure);
      };
    });
  }

  /** @throws Failure for every end but the one that was asked for */
  async run(): Promise<void> {
    const { timeoutS, tell } = this.#wanted;
    if (timeoutS !== null) {
      const timeUp = () => this.#finish(new Failure(`timed out after ${timeoutS} s (-W)`, ExitCode.TIMEOUT));
      setTimeout(timeUp, timeoutS * 1_000).unref(); // the connection keeps the process alive
    }
    this.#watchSignals();
    this.#watchOutput();
    const prepare = (mqtt: MqttClient) => this.#prepare(mqtt);
    const client = await openClient(this.#settings, { reconnects: true, prepare, tell });
    client.accepted.catch((failure: Failure) => this.#finish(failure));
    client.lost.then((failure) => this.#finish(failure));
    const failure = await this.#over;
    if (client.mqtt.connected && process.stdout.writable) await this.#untilShown();
    await client.end();
    if (failure !== null) throw failure;
  }

  async #untilShown(): Promise<void> {
    if (this.#taken.size === 0) return;
    const allShown = new Promise<void>((resolve) => {
      this.#allShown = resolve;
    });
    await Promise.race([allShown, sleep(RELEASE_MS_MAX)]);
  }

  #watchSignals(): void {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.on(signal, () => {
        if (this.#isOver) process.exit(interruptedBy[signal]);
        const { count } = this.#wanted;
        // Without a count there is no other end, so this one is as it should be.
        if (this.#isConnected && !Number.isFinite(count)) this.#finish(null);
        else this.#finish(new Failure(`interrupted after ${this.#shown} messages`, interruptedBy[signal]));
      });
    }
  }

  /** A reader that has seen enough, as in `lethe sub … | head`, is a fine end. */
  #watchOutput(): void {
    process.stdout.on('error', (error: NodeJS.ErrnoException) => {
      this.#finish(isReaderGone(error) ? null : new Failure(`standard output: ${error.message}`));
    });
  }

  #prepare(mqtt: MqttClient): void {
    mqtt.options.customHandleAcks = (...args: Parameters<Acknowledge>) => this.#arrived(...args);
    mqtt.handleMessage = (_packet, done) => this.#acknowledge(done);
    mqtt.on('message', (topic, payload, packet) => this.#show(mqtt, topic, payload, packet));
    mqtt.on('connect', ({ sessionPresent }) => {
      const isFirst = !this.#isConnected;
      this.#isConnected = true;
      if (!sessionPresent) this.#taken.clear();
      if (isFirst || !sessionPresent) this.#subscribe(mqtt);
    });
  }

  #subscribe(mqtt: MqttClient): void {
    const { filters, unsubscribe, qos, retainAsPublished, retainHandling, tell } = this.#wanted;
    const { properties } = this.#settings;
    let unanswered = (filters.length === 0 ? 0 : 1) + (unsubscribe.length === 0 ? 0 : 1);
    const answered = () => {
      // With -U alone there is nothing to wait for.
      if (--unanswered === 0 && (this.#wanted.endsWhenSubscribed || filters.length === 0)) this.#finish(null);
    };
    if (filters.length > 0) {
      const options = { qos, rap: retainAsPublished, rh: retainHandling, properties: properties.subscribe ?? {} };
      mqtt.subscribe([...filters], options, (error, _granted, suback) => {
        // Without a SUBACK the connection was lost, and is dealt with there.
        if (suback === undefined) return;
        if (error === null || this.#judgeAnswer(suback)) answered();
      });
    }
    if (unsubscribe.length > 0) {
      mqtt.unsubscribe([...unsubscribe], { properties: properties.unsubscribe ?? {} }, (_error, unsuback) => {
        if (unsuback === undefined) return;
        const codes = 'granted' in unsuback ? (unsuback.granted as number[]) : [];
        for (const code of codes) if (code >= 0x80) tell(`the broker refused to unsubscribe: ${explainReason(code)}`);
        answered();
      });
    }
  }

  /** Tells what was refused; false when that was everything, which ends the run. */
  #judgeAnswer(suback: ISubackPacket): boolean {
    const { filters, tell } = this.#wanted;
    const codes = suback.granted as number[];
    const refusals = filters.flatMap((filter, index) => {
      const code = codes[index]!;
      return code < 0x80 ? [] : [`'${filter}': ${explainReason(code, suback.properties?.reasonString)}`];
    });
    const message = `the broker refused to subscribe to ${refusals.join(', ')}`;
    if (refusals.length < filters.length) tell(message);
    else this.#finish(new Failure(message, ExitCode.REFUSED));
    return refusals.length < filters.length;
  }

  /** A message of QoS 1 or 2 has come: taken, or left with the broker. */
  #arrived(topic: string, _payload: Buffer, packet: IPublishPacket, answer: Parameters<Acknowledge>[3]): void {
    // MQTT.js keeps a QoS 2 message with the topic of the packet, which is empty where an alias stands for it.
    packet.topic = topic;
    const fate = this.#fateOf(topic, packet);
    if (fate === 'end') this.#finish(null);
    const isTaken = !this.#isOver && (fate === 'hide' || this.#hasPlace() || this.#wasTaken(packet));
    if (isTaken && fate === 'show' && packet.qos === 2) this.#taken.add(packet.messageId!);
    answer(isTaken ? 0 : NOT_TAKEN);
  }

  /** Whether the message was taken before: the broker sends it again when the first acknowledgement was lost. */
  #wasTaken(packet: IPublishPacket): boolean {
    return packet.qos === 2 && this.#taken.has(packet.messageId!);
  }

  #fateOf(topic: string, packet: IPublishPacket): Fate {
    const { retained, hidden } = this.#wanted;
    if (retained === 'only' && !packet.retain) return 'end';
    if (retained === 'skip' && packet.retain) return 'hide';
    return this.#isHidden(hidden, topic) ? 'hide' : 'show';
  }

  #isHidden(hidden: readonly Uint8Array[], topic: string): boolean {
    if (hidden.length === 0) return false;
    const bytes = Buffer.from(topic);
    return hidden.some((filter) => covers(filter, bytes, 0, bytes.length));
  }

  #hasPlace(): boolean {
    return !this.#isOver && this.#shown + this.#taken.size < this.#wanted.count;
  }

  #show(mqtt: MqttClient, topic: string, payload: Buffer, packet: IPublishPacket): void {
    const { format, endOfMessage, removeRetained, hidden, tell } = this.#wanted;
    this.#written = null;
    const wasTaken = packet.qos === 2 && this.#taken.delete(packet.messageId!);
    const fate = this.#fateOf(topic, packet);
    if (fate === 'end') this.#finish(null);
    if (this.#isOver && !wasTaken) return;
    if (removeRetained && packet.retain && payload.length > 0 && !this.#isHidden(hidden, topic)) this.#forget(mqtt, topic);
    if (fate === 'hide' || !(wasTaken || this.#hasPlace())) return;
    let bytes: Buffer;
    try {
      bytes = Buffer.concat([format({ topic, payload, packet, received: new Date() }), endOfMessage]);
    } catch (error) {
      tell(messageOf(error));
      return;
    }
    this.#shown++;
    this.#written = new Promise((resolve, reject) => {
      process.stdout.write(bytes, (error) => (error ? reject(error) : resolve()));
    });
  }

  /** `done` without an error acknowledges. MQTT.js hands out the next message after it. */
  #acknowledge(done: (error?: Error) => void): void {
    const written = this.#written ?? Promise.resolve();
    this.#written = null;
    written.then(
      () => {
        done();
        if (this.#shown >= this.#wanted.count) this.#finish(null);
        if (this.#taken.size === 0) this.#allShown();
      },
      (error: Error) => done(error),
    );
  }

  #forget(mqtt: MqttClient, topic: string): void {
    mqtt.publish(topic, '', { qos: 1, retain: true }, (error) => {
      if (error) this.#wanted.tell(`the retained message on ${topic} stays: ${messageOf(error)}`);
    });
  }
}
