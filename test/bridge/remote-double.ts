// A remote broker that says what a test tells it to: for what a real one cannot be brought to do at will. Speaks by mqtt-packet's parser and generator, which the bridge does not use to read.
import { createServer, type Server, type Socket } from 'node:net';
import mqttPacket, { type IConnackPacket, type IConnectPacket, type Packet } from 'mqtt-packet';
import { Watched } from '../end-to-end/watched.ts';

export type Answer = (packet: Packet, peer: RemotePeer) => void;

/** One connection of a bridge. */
export class RemotePeer {
  readonly socket: Socket;
  level = 5;

  constructor(socket: Socket) {
    this.socket = socket;
  }

  send(packet: Packet): void {
    this.socket.write(mqttPacket.generate(packet, { protocolVersion: this.level }));
  }
}

export class RemoteDouble extends Watched {
  readonly port: number;
  /** Every packet of every connection, in order. */
  readonly packets: Packet[] = [];
  readonly peers: RemotePeer[] = [];
  readonly #server: Server;

  constructor(server: Server, answer: Answer) {
    super();
    this.#server = server;
    const address = server.address();
    if (address === null || typeof address === 'string') throw new Error('no port');
    this.port = address.port;
    server.on('connection', (socket) => {
      const peer = new RemotePeer(socket);
      this.peers.push(peer);
      const parser = mqttPacket.parser();
      socket.on('error', () => {});
      socket.on('data', (chunk) => parser.parse(chunk));
      parser.on('error', () => socket.destroy());
      parser.on('packet', (packet) => {
        if (packet.cmd === 'connect') peer.level = packet.protocolVersion ?? 4;
        this.packets.push(packet);
        answer(packet, peer);
        this.changed();
      });
    });
  }

  of<Command extends Packet['cmd']>(cmd: Command): Extract<Packet, { cmd: Command }>[] {
    return this.packets.filter((packet): packet is Extract<Packet, { cmd: Command }> => packet.cmd === cmd);
  }

  get last(): RemotePeer {
    return this.peers.at(-1)!;
  }

  close(): Promise<void> {
    for (const { socket } of this.peers) socket.destroy();
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }

  protected override describe(): string {
    return `received: ${this.packets.map(({ cmd }) => cmd).join(' ')}`;
  }
}

const open = new Set<RemoteDouble>();

/** To be called after each test. */
export async function closeDoubles(): Promise<void> {
  await Promise.all([...open].map((double) => double.close()));
  open.clear();
}

export async function remoteDouble(answer: Answer): Promise<RemoteDouble> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const double = new RemoteDouble(server, answer);
  open.add(double);
  return double;
}

/** CONNACK that accepts, with what a test wants in it; SUBACK that grants what is asked for; all handshakes as the standard has them. */
export function obliging(connack: Partial<IConnackPacket> = {}, first: Answer = () => {}): Answer {
  return (packet, peer) => {
    first(packet, peer);
    if (packet.cmd === 'connect') peer.send(accepted(packet, connack));
    else if (packet.cmd === 'subscribe')
      peer.send({ cmd: 'suback', messageId: packet.messageId!, granted: packet.subscriptions.map(({ qos }) => qos) });
    else if (packet.cmd === 'pingreq') peer.send({ cmd: 'pingresp' });
    else if (packet.cmd === 'publish' && packet.qos === 1) peer.send({ cmd: 'puback', messageId: packet.messageId! });
    else if (packet.cmd === 'publish' && packet.qos === 2) peer.send({ cmd: 'pubrec', messageId: packet.messageId! });
    else if (packet.cmd === 'pubrec') peer.send({ cmd: 'pubrel', messageId: packet.messageId! });
    else if (packet.cmd === 'pubrel') peer.send({ cmd: 'pubcomp', messageId: packet.messageId! });
  };
}

function accepted(connect: IConnectPacket, connack: Partial<IConnackPacket>): IConnackPacket {
  const code = (connect.protocolVersion ?? 4) === 5 ? { reasonCode: 0 } : { returnCode: 0 };
  return { cmd: 'connack', sessionPresent: false, ...code, ...connack };
}
