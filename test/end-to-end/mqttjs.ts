// MQTT.js as a real client: it connects once, keeps what it receives in order, and is cut when its test ends.
import mqtt, { type ErrorWithReasonCode, ErrorWithSubackPacket, type IClientOptions, type MqttClient } from 'mqtt';
import type { IConnackPacket, IPublishPacket, Packet } from 'mqtt-packet';
import { afterEach } from 'vitest';
import type { Level } from './mosquitto.ts';
import type { Transport } from './served.ts';
import { Watched } from './watched.ts';

const SCHEMES = { tcp: 'mqtt', tls: 'mqtts', ws: 'ws', wss: 'wss' } as const satisfies Record<Transport, string>;

export interface ClientOptions extends Omit<IClientOptions, 'path'> {
  readonly port: number;
  readonly transport?: Transport;
  readonly level?: Level;
  /** Path of the WebSocket endpoint. */
  readonly path?: string;
}

const open = new Set<MqttJs>();

afterEach(() => {
  for (const client of open) client.cut();
});

export class MqttJs extends Watched {
  readonly client: MqttClient;
  /** Messages as MQTT.js hands them out, with the topic that an alias stands for. */
  readonly messages: IPublishPacket[] = [];
  /** Every packet received, as it came: before MQTT.js has handled it, resolved its alias or waited for its acknowledgement. */
  readonly packets: Packet[] = [];
  connack: IConnackPacket | null = null;
  /** Reason of the broker's DISCONNECT; null while there was none. */
  disconnectReason: number | null = null;
  error: Error | ErrorWithReasonCode | null = null;
  closed = false;

  constructor(options: ClientOptions) {
    super();
    const { transport = 'tcp', level = 4, port, path = '/mqtt', ...rest } = options;
    const suffix = transport === 'ws' || transport === 'wss' ? path : '';
    open.add(this);
    this.client = mqtt.connect(`${SCHEMES[transport]}://127.0.0.1:${port}${suffix}`, {
      protocolVersion: level,
      protocolId: level === 3 ? 'MQIsdp' : 'MQTT',
      reconnectPeriod: 0,
      ...rest,
    });
    this.client.on('connect', (connack) => {
      this.connack = connack;
      this.changed();
    });
    this.client.on('message', (topic, _payload, packet) => {
      this.messages.push({ ...packet, topic });
      this.changed();
    });
    this.client.on('packetreceive', (packet) => {
      this.packets.push({ ...packet });
      this.changed();
    });
    this.client.on('disconnect', (packet) => {
      this.disconnectReason = packet.reasonCode ?? 0;
      this.changed();
    });
    this.client.on('error', (error) => {
      this.error = error;
      this.changed();
    });
    this.client.on('close', () => {
      this.closed = true;
      open.delete(this);
      this.changed();
    });
  }

  /** PUBLISH packets as they came. */
  get arrived(): IPublishPacket[] {
    return this.packets.filter((packet) => packet.cmd === 'publish');
  }

  get payloads(): string[] {
    return this.messages.map(({ payload }) => payload.toString());
  }

  received(count: number): Promise<void> {
    return this.until(`MQTT.js has ${count} messages`, () => this.messages.length >= count);
  }

  /** Subscribes; returns the codes of the SUBACK, refusals too. */
  async subscribe(
    filter: string | string[],
    qos: 0 | 1 | 2 = 0,
    rest: Parameters<MqttClient['subscribeAsync']>[1] = {},
  ): Promise<number[]> {
    try {
      const grants = await this.client.subscribeAsync(filter, { ...rest, qos });
      return grants.map((grant) => grant.qos);
    } catch (error) {
      if (error instanceof ErrorWithSubackPacket) return error.packet.granted as number[];
      throw error;
    }
  }

  /** Publishes; resolves when the broker has acknowledged, at QoS 0 when it is written. */
  async publish(topic: string, payload: string | Buffer, rest: Parameters<MqttClient['publishAsync']>[2] = {}): Promise<void> {
    await this.client.publishAsync(topic, payload, rest);
  }

  /** Says DISCONNECT and waits for the close. */
  async end(): Promise<void> {
    await this.client.endAsync();
  }

  /** Breaks the connection without a DISCONNECT. */
  cut(): void {
    this.client.stream.destroy();
  }

  protected override isOver(): boolean {
    return this.closed;
  }

  protected override describe(): string {
    return `error: ${this.error?.message ?? 'none'}, closed: ${this.closed}, received: ${JSON.stringify(this.payloads.slice(0, 20))}`;
  }
}

/** A client that the broker has accepted. */
export async function mqttJs(options: ClientOptions): Promise<MqttJs> {
  const client = new MqttJs(options);
  await client.until('the broker accepts MQTT.js', () => client.connack !== null);
  return client;
}

/** The code with which the broker refuses this client. */
export async function refusalOf(options: ClientOptions): Promise<number | undefined> {
  const client = new MqttJs(options);
  await client.until('the broker refuses MQTT.js', () => client.error !== null);
  return (client.error as ErrorWithReasonCode).code;
}
