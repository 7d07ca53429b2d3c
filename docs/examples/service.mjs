// A service of a job queue: any number of these share the jobs between them, and answer each where its sender wants the answer (MQTT 5).
//
//   MQTT_URL=mqtt://127.0.0.1:1883 node service.mjs
//   lethe pub -V 5 -q 1 -t jobs/upper -m 'some text' -D publish response-topic answers/me -D publish correlation-data 7
//
// A job is acknowledged when it is done. One that its service did not come to the end of, because it was stopped, killed or cut off, goes to another: a job is done at least once.
import { hostname } from 'node:os';
import mqtt from 'mqtt';

const client = mqtt.connect(process.env.MQTT_URL ?? 'mqtt://127.0.0.1:1883', {
  protocolVersion: 5,
  clientId: `service-${hostname()}-${process.pid}`,
  // The session ends with the connection: what this one had not done is given to the others at once. (While there is none at all, nobody waits for jobs: where they must be kept for that long, let one of them have a session that lasts.)
  clean: true,
  // Jobs that wait here while one is done; the others wait at the broker, for whoever is free.
  properties: { receiveMaximum: 2 },
});

/** Does one job; what it returns is the answer. */
async function work(topic, payload) {
  if (topic === 'jobs/upper') return payload.toString().toUpperCase();
  throw new Error(`there is no job of this kind`);
}

async function take({ topic, payload, properties = {} }) {
  const { responseTopic, correlationData } = properties;
  const [status, answer] = await work(topic, payload).then(
    (done) => ['done', done],
    (error) => ['failed', error.message],
  );
  if (responseTopic === undefined) return;
  const echoed = correlationData === undefined ? {} : { correlationData };
  // Not awaited: its acknowledgement is read after this job's was sent. They go out in this order.
  client.publish(responseTopic, answer, { qos: 1, properties: { ...echoed, userProperties: { status } } });
}

let last = Promise.resolve();
let isStopping = false;
// MQTT.js acknowledges when `done` is called, and reads nothing more before: a job must take less time than the keep alive (60 s).
client.handleMessage = (packet, done) => {
  // An error leaves it without an acknowledgement: when this session ends, it goes to another service.
  if (isStopping) done(new Error('stopping'));
  else last = take(packet).then(() => done(), done);
};
client.on('connect', async () => {
  await client.subscribeAsync('$share/services/jobs/+', { qos: 1 });
  console.log('ready');
});
client.on('error', (error) => console.error(error.message));

// Comes to the end of the job under way, waits until its answer has arrived, and says goodbye. It does not unsubscribe: what waits for a service that has unsubscribed would go to no other one.
async function stop() {
  isStopping = true;
  await last;
  await client.endAsync();
}
process.once('SIGTERM', stop);
process.once('SIGINT', stop);
