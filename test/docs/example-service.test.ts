// docs/examples/service.mjs, as it stands: two of it share jobs and answer them; one that is stopped or killed leaves nothing undone.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type RunningBroker, startBroker } from '../broker.ts';
import { Child } from '../end-to-end/child.ts';
import { type MqttJs, mqttJs } from '../end-to-end/mqttjs.ts';

const file = new URL('../../docs/examples/service.mjs', import.meta.url).pathname;

let broker: RunningBroker;
beforeAll(async () => {
  broker = await startBroker();
});
afterAll(() => broker.stop());

async function service(): Promise<Child> {
  const child = new Child(process.execPath, [file], { env: { MQTT_URL: `mqtt://127.0.0.1:${broker.tcp}` } });
  await child.until('the service is ready', () => child.stdout.includes('ready'));
  return child;
}

async function asker(topic: string): Promise<MqttJs> {
  const client = await mqttJs({ port: broker.tcp, level: 5 });
  await client.subscribe(topic, 1);
  return client;
}

function ask(client: MqttJs, kind: string, number: number, responseTopic: string): Promise<void> {
  const properties = { responseTopic, correlationData: Buffer.from(String(number)) };
  return client.publish(`jobs/${kind}`, `job ${number}`, { qos: 1, properties });
}

const answers = (client: MqttJs) =>
  new Map(
    client.messages.map(({ payload, properties }) => [
      String(properties?.correlationData),
      [String(payload), properties?.userProperties?.['status']],
    ]),
  );

test('jobs are shared, answered, and refused where there is no such job', async () => {
  const services = [await service(), await service()];
  const client = await asker('answers/one');
  for (let number = 0; number < 20; number++) await ask(client, 'upper', number, 'answers/one');
  await ask(client, 'other', 20, 'answers/one');
  await client.received(21);
  expect(answers(client)).toEqual(
    new Map<string, string[]>([
      ...Array.from({ length: 20 }, (_, number) => [String(number), [`JOB ${number}`, 'done']] as [string, string[]]),
      ['20', ['there is no job of this kind', 'failed']],
    ]),
  );
  for (const child of services) child.kill('SIGTERM');
  for (const child of services) expect(await child.ended(), child.stderr).toEqual({ code: 0, signal: null });
});

test('under load one is stopped and one is killed: each job is done', async () => {
  const [stopped, killed, last] = [await service(), await service(), await service()];
  const client = await asker('answers/two');
  const jobs = 300;
  const asked = Promise.all(Array.from({ length: jobs }, (_, number) => ask(client, 'upper', number, 'answers/two')));
  await client.received(20);
  stopped.kill('SIGTERM');
  killed.kill('SIGKILL');
  await asked;
  await client.until('each job is answered', () => answers(client).size === jobs);
  expect(await stopped.ended(), stopped.stderr).toEqual({ code: 0, signal: null });
  last.kill('SIGTERM');
  expect(await last.ended(), last.stderr).toEqual({ code: 0, signal: null });
});
