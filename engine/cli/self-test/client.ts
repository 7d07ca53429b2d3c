// A client of a self-test: MQTT 5 by MQTT.js, over TCP or WebSocket, which keeps what it receives.
import type { IClientOptions, MqttClient } from 'mqtt';
import { messageOf } from '../failure.ts';
import { CheckFailure } from './check.ts';
import { within } from './child-broker.ts';

const ANSWER_MS_MAX = 10_000;
const SESSION_S = 3_600;
const ADVICE =
  'something between two programs of this machine keeps them apart: a firewall on the loopback interface, or no processor time';
const LOOPBACK_ADVICE = 'bring the loopback interface up: ip link set lo up';

export interface Arrived {
  readonly topic: string;
  readonly payload: string;
  readonly qos: 0 | 1 | 2;
}

export interface ClientOptions {
  readonly transport: 'tcp' | 'ws';
  readonly port: number;
  readonly clientId: string;
  /** `stays`: the session waits for its client when that is away. */
  readonly session: 'ends' | 'stays';
  /** What the session may have from before is dropped. */
  readonly clean: 'clean' | 'resume';
}

export class TestClient {
  readonly arrived: Arrived[] = [];
  readonly #mqtt: MqttClient;
  readonly #what: string;
  #changed: () => void = () => {};
  hadSession = false;

  private constructor(mqtt: MqttClient, what: string) {
    this.#mqtt = mqtt;
    this.#what = what;
    mqtt.on('message', (topic, payload, { qos }) => {
      this.arrived.push({ topic, payload: payload.toString(), qos });
      this.#changed();
    });
    // What goes wrong is told by whoever waits for an answer.
    mqtt.on('error', () => {});
  }

  /** @throws CheckFailure */
  static async connect({ transport, port, clientId, session, clean }: ClientOptions): Promise<TestClient> {
    const { connect } = await import('mqtt');
    const options: IClientOptions = {
      protocol: transport === 'tcp' ? 'mqtt' : 'ws',
      host: '127.0.0.1',
      port,
      path: '/mqtt',
      protocolVersion: 5,
      clientId,
      clean: clean === 'clean',
      reconnectPeriod: 0,
      connectTimeout: ANSWER_MS_MAX,
      properties: { sessionExpiryInterval: session === 'stays' ? SESSION_S : 0 },
    };
    const mqtt = connect(options);
    const client = new TestClient(mqtt, `over ${transport === 'tcp' ? 'TCP' : 'WebSocket'} on port ${port}`);
    let cause = '';
    mqtt.on('error', (error) => {
      cause = `: ${messageOf(error)}`;
    });
    const connected = new Promise<boolean>((resolve) => {
      mqtt.once('connect', ({ sessionPresent }) => {
        client.hadSession = sessionPresent;
        resolve(true);
      });
      mqtt.once('close', () => resolve(false));
    });
    if ((await within(ANSWER_MS_MAX, connected)) !== true) {
      mqtt.end(true);
      throw new CheckFailure(`no connection ${client.#what}${cause}`, cause.includes('ENETUNREACH') ? LOOPBACK_ADVICE : ADVICE);
    }
    return client;
  }

  async subscribe(filter: string, qos: 0 | 1 | 2): Promise<void> {
    const [granted] = await this.#answered('SUBSCRIBE', this.#mqtt.subscribeAsync(filter, { qos }));
    if (granted?.qos !== qos) throw new CheckFailure(`a subscription was answered with ${granted?.qos}`, ADVICE);
  }

  /** Resolves when it is acknowledged as its QoS asks for. */
  async publish(topic: string, payload: string, qos: 0 | 1 | 2, userProperty: string, retain = false): Promise<void> {
    const properties = { userProperties: { test: userProperty } };
    await this.#answered(`PUBLISH of QoS ${qos}`, this.#mqtt.publishAsync(topic, payload, { qos, retain, properties }));
  }

  /** @throws CheckFailure that says how many have come instead */
  async got(count: number): Promise<readonly Arrived[]> {
    const enough = new Promise<true>((resolve) => {
      this.#changed = () => {
        if (this.arrived.length >= count) resolve(true);
      };
      this.#changed();
    });
    if ((await within(ANSWER_MS_MAX, enough)) === null)
      throw new CheckFailure(`${this.arrived.length} of ${count} messages came ${this.#what}`, ADVICE);
    return this.arrived;
  }

  /** Disconnects in order, when everything on its way is acknowledged. */
  async end(): Promise<void> {
    await this.#answered('DISCONNECT', this.#mqtt.endAsync());
  }

  /** Gone at once. */
  destroy(): void {
    this.#mqtt.end(true);
  }

  async #answered<Value>(what: string, answer: Promise<Value>): Promise<Value> {
    const value = await within(
      ANSWER_MS_MAX,
      answer.then(
        (good) => ({ good }),
        (error: unknown) => {
          throw new CheckFailure(`${what} ${this.#what} failed: ${messageOf(error)}`, ADVICE);
        },
      ),
    );
    if (value === null) throw new CheckFailure(`no answer to ${what} ${this.#what}`, ADVICE);
    return value.good;
  }
}
