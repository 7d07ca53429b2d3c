// What a broker promises, tried end to end with a broker of its own: messages over both transports, a queue that outlives SIGKILL, and that what was consumed is gone. Each check rests on the one before.
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { systemRandom } from '../../random.ts';
import { type Check, CheckFailure } from './check.ts';
import type { ChildBroker } from './child-broker.ts';
import { type Arrived, TestClient } from './client.ts';
import { FOLDER } from './machine.ts';
import { copySpool, filesWith, valuesWith } from './remains.ts';

const QUALITIES = [0, 1, 2] as const;
const QUEUED = 60;
/** Within the bound of erasure, 1 s by default, what was consumed is gone; a machine that is slow may take longer, but not for ever. */
const GONE_MS_MAX = 10_000;
const LOOK_EVERY_MS = 100;
const SPOOL_ADVICE = 'do not trust this disk with messages: test it, or give --data on another one; tell the makers of Lethe';

/** Stands nowhere else in the world: in client ids, topics, payloads and user properties of the test. */
const CANARY = `canary-${Buffer.from(systemRandom.bytes(10)).toString('hex')}`;
const AWAY = `${CANARY}-away`;
const TOPIC = `${CANARY}/queued`;
const RETAINED = `${CANARY}/retained`;

/** @param work folder of the test; the broker is stopped by the last check, and by whoever ends the test early */
export function promiseChecks(work: () => string, broker: () => ChildBroker): readonly Check[] {
  const held = () => join(work(), 'held');
  const scratch = () => join(work(), 'scratch');
  const checks: readonly Check[] = [
    { name: 'start', run: async () => `ready in ${(await broker().start()).toFixed(0)} ms` },
    { name: 'publish and receive', run: () => exchange(broker()) },
    { name: 'queue for who is away', run: () => queue(broker()) },
    { name: 'encrypted at rest', run: () => lookForClear(broker()) },
    { name: 'kill and start', run: () => killAndStart(broker(), held(), scratch()) },
    { name: 'recover', run: () => recover(broker()) },
    { name: 'forget', run: () => forget(broker(), held(), scratch()) },
    { name: 'stop', run: () => stop(broker(), scratch()) },
  ];
  return checks.map((check, at) => ({ ...check, needs: at === 0 ? FOLDER : checks[at - 1]!.name }));
}

async function exchange({ ports }: ChildBroker): Promise<string> {
  const clients: TestClient[] = [];
  try {
    for (const transport of ['tcp', 'ws'] as const) {
      const port = ports[transport];
      const subscriber = await TestClient.connect({
        transport,
        port,
        clientId: `${CANARY}-${transport}`,
        session: 'ends',
        clean: 'clean',
      });
      clients.push(subscriber);
      await subscriber.subscribe(`${CANARY}/${transport}`, 2);
      const other = transport === 'tcp' ? 'ws' : 'tcp';
      const publisher = await TestClient.connect({
        transport: other,
        port: ports[other],
        clientId: `${CANARY}-from-${other}`,
        session: 'ends',
        clean: 'clean',
      });
      clients.push(publisher);
      for (const qos of QUALITIES) await publisher.publish(`${CANARY}/${transport}`, `${CANARY} ${qos}`, qos, CANARY);
      mustBe(
        await subscriber.got(QUALITIES.length),
        QUALITIES.map((qos) => ({ topic: `${CANARY}/${transport}`, payload: `${CANARY} ${qos}`, qos })),
      );
    }
    for (const client of clients) await client.end();
    return 'QoS 0, 1 and 2, from TCP to WebSocket and back';
  } finally {
    for (const client of clients) client.destroy();
  }
}

/** What the client that is away is owed. */
function owed(): readonly Arrived[] {
  return Array.from({ length: QUEUED }, (_, at) => ({
    topic: TOPIC,
    payload: `${CANARY} queued ${at}`,
    qos: at % 2 === 0 ? 1 : 2,
  }));
}

async function queue(broker: ChildBroker): Promise<string> {
  const port = broker.ports.tcp;
  const away = await TestClient.connect({ transport: 'tcp', port, clientId: AWAY, session: 'stays', clean: 'clean' });
  await away.subscribe(TOPIC, 2);
  await away.end();
  const publisher = await TestClient.connect({
    transport: 'tcp',
    port,
    clientId: `${CANARY}-p`,
    session: 'ends',
    clean: 'clean',
  });
  try {
    const startMs = performance.now();
    for (const { topic, payload, qos } of owed()) await publisher.publish(topic, payload, qos, CANARY);
    const tookMs = (performance.now() - startMs) / QUEUED;
    await publisher.publish(RETAINED, CANARY, 1, CANARY, true);
    await publisher.end();
    return `${QUEUED} messages acknowledged, ${tookMs.toFixed(1)} ms each, one after the other; one retained`;
  } finally {
    publisher.destroy();
  }
}

function lookForClear(broker: ChildBroker): string {
  const clear = filesWith(broker.dataFolder, CANARY);
  if (clear.length > 0) throw new CheckFailure(`messages stand in clear in ${clear.join(', ')}`, SPOOL_ADVICE);
  return 'no name and no message stands in clear in any file';
}

async function killAndStart(broker: ChildBroker, held: string, scratch: string): Promise<string> {
  await broker.mustRun();
  await broker.kill();
  copySpool(broker.dataFolder, held);
  // Otherwise that they cannot be read later would show nothing.
  if (valuesWith(held, held, CANARY, scratch) === 0)
    throw new CheckFailure('what was acknowledged is not on the disk after SIGKILL', SPOOL_ADVICE);
  return `ended by SIGKILL, ready again in ${(await broker.start()).toFixed(0)} ms`;
}

async function recover(broker: ChildBroker): Promise<string> {
  const port = broker.ports.tcp;
  const away = await TestClient.connect({ transport: 'tcp', port, clientId: AWAY, session: 'stays', clean: 'resume' });
  try {
    if (!away.hadSession) throw new CheckFailure('the session of the client that was away is lost', SPOOL_ADVICE);
    await away.got(QUEUED);
    // Behind everything that is owed: nothing more comes before it.
    await away.subscribe(RETAINED, 1);
    mustBe(await away.got(QUEUED + 1), [...owed(), { topic: RETAINED, payload: CANARY, qos: 1 }]);
    await away.end();
  } finally {
    away.destroy();
  }
  return `all ${QUEUED} and the retained one came, in order, none of QoS 2 twice`;
}

async function forget(broker: ChildBroker, held: string, scratch: string): Promise<string> {
  const port = broker.ports.tcp;
  const last = await TestClient.connect({ transport: 'tcp', port, clientId: AWAY, session: 'ends', clean: 'clean' });
  try {
    await last.publish(RETAINED, '', 1, CANARY, true);
    await last.end();
  } finally {
    last.destroy();
  }
  const startMs = performance.now();
  for (;;) {
    const readable = valuesWith(held, broker.dataFolder, CANARY, scratch);
    const tookMs = performance.now() - startMs;
    if (readable === 0) {
      rmSync(held, { recursive: true });
      return `${(tookMs / 1_000).toFixed(1)} s after the last of it was consumed its keys are gone: an old copy of the data cannot be read`;
    }
    if (tookMs > GONE_MS_MAX)
      throw new CheckFailure(
        `${readable} values that were consumed can still be read after ${GONE_MS_MAX / 1_000} s`,
        'see whether the disk is slow (disk flush), and whether the broker says anything',
      );
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
  }
}

async function stop(broker: ChildBroker, scratch: string): Promise<string> {
  await broker.stop();
  const clear = filesWith(broker.dataFolder, CANARY);
  const readable = valuesWith(broker.dataFolder, broker.dataFolder, CANARY, scratch);
  if (clear.length > 0 || readable > 0)
    throw new CheckFailure(`${readable} values and ${clear.length} files still hold what was consumed`, SPOOL_ADVICE);
  return 'stopped in order; nothing of the test is in its files';
}

/** Order holds for each QoS: a message of QoS 2 counts as arrived when its PUBREL has come. @throws CheckFailure at the first that is another one */
function mustBe(arrived: readonly Arrived[], expected: readonly Arrived[]): void {
  for (const quality of QUALITIES) {
    const found = arrived.filter(({ qos }) => qos === quality);
    const wanted = expected.filter(({ qos }) => qos === quality);
    for (const [at, { topic, payload }] of wanted.entries()) {
      if (found[at]?.topic !== topic || found[at].payload !== payload)
        throw new CheckFailure(
          `of QoS ${quality}, message ${at + 1} of ${wanted.length} is another one than was sent`,
          SPOOL_ADVICE,
        );
    }
    if (found.length > wanted.length)
      throw new CheckFailure(`of QoS ${quality}, ${found.length - wanted.length} messages came twice`, SPOOL_ADVICE);
  }
}
