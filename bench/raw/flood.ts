// A flood: publishers and their receivers against one broker, as fast as the window lets them. Counts what arrives between two
// marks, then lets the pipe run empty and settles the account.
import { randomBytes } from 'node:crypto';
import { CONNACK, encodeConnect, encodeSubscribe, type PublishShape, publishShape, suback } from './packets.ts';
import { Publisher, type Window } from './publisher.ts';
import { Acknowledger, Receiver } from './receiver.ts';
import { openWire, type Wire, type WireKind } from './wire.ts';

export interface FloodPlan {
  readonly wire: WireKind;
  readonly qos: 0 | 1;
  readonly publishers: number;
  /** Topics that each publisher takes in turn, message by message. */
  readonly topics: number;
  /** Subscribers of each publisher's topics. */
  readonly receivers: number;
  readonly payloadBytes: number;
  /** Of each publisher. */
  readonly window: Window;
  readonly warmUpMs: number;
  readonly measureMs: number;
}

export interface FloodAccount {
  /** Deliveries between the marks, and the time between them. */
  readonly deliveries: number;
  readonly seconds: number;
  /** Over the whole flood, all receivers together. */
  readonly sent: number;
  readonly lost: number;
  readonly behind: number;
  /** Share of its core that the load used between the marks, 0 to 1. */
  readonly loadBusy: number;
}

const ANSWER_TIMEOUT_MS = 5_000;
/** Nothing arrived for so long: what is missing does not come. */
const DRAIN_QUIET_MS = 500;
const DRAIN_POLL_MS = 5;

/**
 * Runs one flood against 127.0.0.1:`port`; `mark` is called at the beginning and at the end of the time that counts.
 * @throws Error when the broker answers wrongly or goes away
 */
export async function flood(port: number, plan: FloodPlan, mark: () => void): Promise<FloodAccount> {
  const wires: Wire[] = [];
  const failure: { error: Error | null } = { error: null };
  const fail = (error: Error): void => {
    failure.error ??= error;
  };
  try {
    const publishers: Publisher[] = [];
    const receivers: Receiver[] = [];
    for (let i = 0; i < plan.publishers; i++) {
      const shape = publishShape(i, plan.topics, plan.payloadBytes, plan.qos);
      const own: Receiver[] = [];
      const publisher = new Publisher(await join(port, plan, wires), shape, plan.window, own);
      wires.at(-1)!.take = (_chunk, from, to) => publisher.takeAcks(from, to);
      for (let j = 0; j < plan.receivers; j++) own.push(await subscribe(port, plan, shape, wires, publisher));
      publishers.push(publisher);
      receivers.push(...own);
    }
    for (const wire of wires) wire.onLost = fail;
    const check = (): void => {
      for (const { fault } of receivers) if (fault !== null) fail(new Error(`raw client: ${fault}`));
      if (failure.error !== null) throw failure.error;
    };
    const received = (): number => receivers.reduce((sum, receiver) => sum + receiver.received, 0);

    for (const publisher of publishers) publisher.pump();
    await sleep(plan.warmUpMs);
    check();
    const before = { received: received(), at: performance.now(), cpu: process.cpuUsage() };
    mark();
    await sleep(plan.measureMs);
    const seconds = (performance.now() - before.at) / 1_000;
    const deliveries = received() - before.received;
    mark();
    const cpu = process.cpuUsage(before.cpu);
    check();

    for (const publisher of publishers) publisher.stopped = true;
    const missing = (): number => publishers.reduce((sum, { sent }, i) => sum + missingOf(i, sent), 0);
    const missingOf = (i: number, sent: number): number =>
      receivers.slice(i * plan.receivers, (i + 1) * plan.receivers).reduce((sum, receiver) => sum + receiver.missing(sent), 0);
    let last = { received: received(), at: performance.now() };
    while (missing() > 0 && performance.now() - last.at < DRAIN_QUIET_MS) {
      await sleep(DRAIN_POLL_MS);
      check();
      if (received() !== last.received) last = { received: received(), at: performance.now() };
    }
    return {
      deliveries,
      seconds,
      sent: publishers.reduce((sum, { sent }) => sum + sent * plan.receivers, 0),
      lost: receivers.reduce((sum, { lost }) => sum + lost, 0) + missing(),
      behind: receivers.reduce((sum, { behind }) => sum + behind, 0),
      loadBusy: (cpu.user + cpu.system) / 1e6 / seconds,
    };
  } finally {
    for (const wire of wires) wire.destroy();
  }
}

async function subscribe(
  port: number,
  plan: FloodPlan,
  shape: PublishShape,
  wires: Wire[],
  publisher: Publisher,
): Promise<Receiver> {
  const wire = await join(port, plan, wires);
  const receiver = new Receiver(shape, plan.qos === 0 ? null : new Acknowledger(wire));
  await ask(wire, encodeSubscribe(shape.filter, plan.qos), suback(plan.qos));
  wire.take = (chunk, from, to) => {
    receiver.take(chunk, from, to);
    publisher.pump();
  };
  return receiver;
}

async function join(port: number, plan: FloodPlan, wires: Wire[]): Promise<Wire> {
  const wire = await openWire(plan.wire, port);
  wires.push(wire);
  await ask(wire, encodeConnect(`flood-${randomBytes(6).toString('hex')}`), CONNACK);
  return wire;
}

/** Sends a packet and waits for exactly this answer. */
function ask(wire: Wire, packet: Buffer, answer: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    let got = Buffer.alloc(0);
    const timer = setTimeout(() => reject(new Error(`raw client: no answer within ${ANSWER_TIMEOUT_MS} ms`)), ANSWER_TIMEOUT_MS);
    const settle = (error: Error | null): void => {
      clearTimeout(timer);
      wire.take = () => {};
      wire.onLost = () => {};
      if (error === null) resolve();
      else reject(error);
    };
    wire.onLost = settle;
    wire.take = (chunk, from, to) => {
      got = Buffer.concat([got, chunk.subarray(from, to)]);
      if (got.length < answer.length) return;
      settle(got.equals(answer) ? null : new Error(`raw client: expected ${answer.toString('hex')}, got ${got.toString('hex')}`));
    };
    wire.send(Buffer.concat([Buffer.alloc(wire.headroom), packet]), wire.headroom + packet.length, () => {});
  });
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
