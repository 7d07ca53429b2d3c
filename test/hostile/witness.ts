// Two clients that have nothing to do with what is going on: what one publishes must reach the other, answered and in order.
import { connect, publish, subscribe, u16 } from '../conformance/bytes.ts';
import { readPublish } from '../conformance/decode.ts';
import { RawClient } from '../conformance/raw-client.ts';

const PATIENCE_MS = 20_000;
const TOPIC = 'witness';

export class Witness {
  readonly #publisher: RawClient;
  readonly #subscriber: RawClient;
  #rounds = 0;

  private constructor(publisher: RawClient, subscriber: RawClient) {
    this.#publisher = publisher;
    this.#subscriber = subscriber;
  }

  static async open(port: number): Promise<Witness> {
    const [publisher, subscriber] = await Promise.all([RawClient.connect(port, 5), RawClient.connect(port, 5)]);
    publisher.send(connect(5, { clientId: 'witness-publisher' }));
    subscriber.send(connect(5, { clientId: 'witness-subscriber' }), subscribe(5, { filters: [[TOPIC, 1]] }));
    await publisher.expect('20 .. 00 00 *');
    await subscriber.expect('20 .. 00 00 *');
    await subscriber.expect('90 04 00 01 00 01');
    return new Witness(publisher, subscriber);
  }

  /** One message at QoS 1: acknowledged with success, and delivered before anything else is. */
  async isServed(): Promise<void> {
    const payload = `round ${++this.#rounds}`;
    this.#publisher.send(publish(5, { topic: TOPIC, payload, qos: 1, packetId: this.#rounds }));
    const answer = await this.#publisher.nextPacket(PATIENCE_MS);
    if (!answer.bytes.equals(Buffer.concat([Buffer.from([0x40, 2]), u16(this.#rounds)]))) {
      throw new Error(`the witness was answered ${answer.bytes.toString('hex')}`);
    }
    const packet = await this.#subscriber.nextPacket(PATIENCE_MS);
    if (packet.type !== 3) throw new Error(`the witness received ${packet.bytes.toString('hex')}`);
    const { payload: received, packetId } = readPublish(packet, 5);
    if (received !== payload) throw new Error(`the witness received "${received}" in place of "${payload}"`);
    this.#subscriber.send(Buffer.concat([Buffer.from([0x40, 2]), u16(packetId)]));
  }

  drop(): void {
    this.#publisher.drop();
    this.#subscriber.drop();
  }
}
