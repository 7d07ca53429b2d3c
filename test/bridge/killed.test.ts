// Brokers at both ends of a bridge are killed in the middle of load (SIGKILL), and started again on what they had: QoS 2 arrives exactly once, QoS 1 at least once, in order.
import { expect, test } from 'vitest';
import { type Served, serve } from '../end-to-end/served.ts';
import { temporaryFolder } from '../forgetting/place.ts';
import { SeededRandom } from '../seeded-random.ts';
import { Flow } from './flow.ts';
import { Line } from './line.ts';

const KILLS = 6;
const SHARE = 150;

const listener = ['[[listener]]', 'name = "tcp"', 'transport = "tcp"', 'port = 0'];

/** A broker that comes back with everything that it had, but its ports. */
class Phoenix {
  port = 0;
  readonly #toml: string;
  #served: Served | null = null;

  constructor(tables: readonly string[] = []) {
    const server = ['[server]', `data_dir = "${temporaryFolder()}"`, 'log_level = "warn"', '[limits]', 'overload_delay_ms = 0'];
    this.#toml = [...server, ...listener, ...tables].join('\n');
  }

  async start(): Promise<void> {
    this.#served = await serve(this.#toml);
    this.port = this.#served.port('tcp');
  }

  async kill(): Promise<void> {
    this.#served!.child.kill('SIGKILL');
    await this.#served!.child.exited;
  }

  async stop(): Promise<void> {
    expect(await this.#served!.stop()).toEqual({ code: 0, signal: null });
  }
}

test('either end is killed under load, again and again, and nothing is lost', async () => {
  const seed = Number(process.env['LETHE_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
  const random = new SeededRandom(seed);
  const remote = new Phoenix();
  await remote.start();
  const line = await Line.to(remote.port);
  const bridge = ['[[bridge]]', 'name = "cloud"', 'transport = "tcp"', `addresses = ["127.0.0.1:${line.port}"]`];
  const edge = new Phoenix([
    ...bridge,
    'topics = ["up/# out 2", "down/# in 2"]',
    'restart_timeout_s = 1',
    'restart_timeout_max_s = 1',
  ]);
  await edge.start();
  const flows = ([1, 2] as const).flatMap((qos) => [
    { flow: new Flow({ name: `up ${qos}`, topic: `up/${qos}`, qos, count: KILLS * SHARE }), from: edge, to: remote },
    { flow: new Flow({ name: `down ${qos}`, topic: `down/${qos}`, qos, count: KILLS * SHARE }), from: remote, to: edge },
  ]);
  // What comes down reaches whoever is subscribed: the bridge first of all.
  await line.until('the bridge has come', () => line.bytesIn > 0);
  for (const { flow, from, to } of flows) {
    flow.allowed = 0;
    await flow.begin(from.port, to.port);
  }
  for (let round = 0; round < KILLS; round++) {
    const victim = round % 2 === 0 ? edge : remote;
    const due = line.bytesOut + line.bytesIn + random.below(8_000);
    for (const { flow } of flows) flow.allow(SHARE);
    await line.until('some of the load is under way', () => line.bytesOut + line.bytesIn >= due);
    await victim.kill();
    await Promise.all(
      flows.flatMap(({ flow, from, to }) => [
        ...(from === victim ? [flow.sender.peer.untilGone()] : []),
        ...(to === victim ? [flow.receiver.peer.untilGone()] : []),
      ]),
    );
    await victim.start();
    line.target = remote.port;
    for (const { flow, from, to } of flows) {
      if (to === victim) await flow.receiver.connect(to.port);
      if (from === victim) await flow.sender.peer.connect(from.port);
    }
  }
  for (const { flow } of flows) await flow.arrived();
  expect(
    flows.flatMap(({ flow }) => flow.judge(true)),
    `again: LETHE_SEED=${seed}`,
  ).toEqual([]);
  for (const { flow } of flows) flow.cut();
  await Promise.all([edge.stop(), remote.stop()]);
});
