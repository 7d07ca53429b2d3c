// A broker's bad twin: a proxy that passes everything on but lets a test drop, repeat, change, swap or hold back the PUBLISH packets that
// go to subscribers.
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { Frame, Framer } from '../../protocol/framer.ts';
import { PacketType } from '../../protocol/packet.ts';

/** What is sent instead of a PUBLISH; `number` counts those of all connections from 0. */
export type Meddle = (packet: Buffer, number: number) => readonly Buffer[];

export class Meddler {
  readonly port: number;
  /** What of all PUBLISHes was passed on, dropped or made up. */
  seen = 0;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #held: (() => void)[] = [];
  #holds = false;

  private constructor(server: Server, port: number) {
    this.#server = server;
    this.port = port;
  }

  static async start(brokerPort: number, meddle: Meddle = (packet) => [packet]): Promise<Meddler> {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const meddler = new Meddler(server, (server.address() as { port: number }).port);
    server.on('connection', (client) => meddler.#pass(client, brokerPort, meddle));
    return meddler;
  }

  /** Keeps back what comes from the broker, until it lets go. */
  hold(): void {
    this.#holds = true;
  }

  letGo(): void {
    this.#holds = false;
    for (const send of this.#held.splice(0)) send();
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #pass(client: Socket, brokerPort: number, meddle: Meddle): void {
    const broker = connect(brokerPort, '127.0.0.1');
    const framer = new Framer(268_435_460);
    for (const [socket, other] of [
      [client, broker],
      [broker, client],
    ] as const) {
      this.#sockets.add(socket);
      socket.setNoDelay(true);
      socket.on('error', () => {});
      socket.on('close', () => {
        this.#sockets.delete(socket);
        other.destroy();
      });
    }
    client.on('data', (chunk: Buffer) => broker.write(chunk));
    broker.on('data', (chunk: Buffer) => {
      const out: Buffer[] = [];
      framer.feed(chunk, 0, chunk.length);
      while (framer.next() === Frame.PACKET) {
        const packet = Buffer.from(framer.buffer.subarray(framer.packetFrom, framer.bodyTo));
        if (framer.header >> 4 === PacketType.PUBLISH) out.push(...meddle(packet, this.seen++));
        else out.push(packet);
      }
      const send = () => client.write(Buffer.concat(out));
      if (this.#holds) this.#held.push(send);
      else send();
    });
  }
}
