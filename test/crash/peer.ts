// One client's line to the broker: it connects, splits what comes into packets, and loses everything that is under way when the line is
// gone, as a client does whose broker dies. What a client remembers beyond a line is its owner's business.
import { connect as openSocket, type Socket } from 'node:net';
import { connect, type Level, pingreq, property } from '../conformance/bytes.ts';
import { type Packet, readConnack, readReason, splitPacket } from '../conformance/decode.ts';

/** What the owner of a line does with what comes. */
export interface PeerEvents {
  /** CONNACK came. */
  opened(sessionPresent: boolean): void;
  packet(packet: Packet): void;
  /** The line is gone. */
  closed(): void;
  violation(text: string): void;
}

export interface ConnectOptions {
  readonly clean?: boolean;
  /** Receive Maximum on MQTT 5; 0: none given. */
  readonly receiveMaximum?: number;
  /** Session Expiry Interval on MQTT 5; never, unless given. */
  readonly expiryS?: number;
}

interface Wait {
  readonly holds: () => boolean;
  readonly settle: (held: boolean) => void;
}

const NEVER_EXPIRES_S = 0xffff_ffff;
const PINGRESP = 13;
const CONNACK = 2;
const DISCONNECT = 14;
const SERVER_SHUTTING_DOWN = 0x8b;
/** Nothing on one machine takes so long. */
const WAIT_MS_MAX = 30_000;

export class Peer {
  readonly name: string;
  readonly level: Level;
  isOpen = false;
  readonly #events: PeerEvents;
  #socket: Socket | null = null;
  #unread: Buffer = Buffer.alloc(0);
  #waits: Wait[] = [];
  #pings = 0;
  #pongs = 0;

  constructor(name: string, level: Level, events: PeerEvents) {
    this.name = name;
    this.level = level;
    this.#events = events;
  }

  /** Whether there is a line, open or about to be. */
  get isConnected(): boolean {
    return this.#socket !== null;
  }

  /** Opens a line; true once the broker has accepted it, false when it was lost before. */
  connect(port: number, options: ConnectOptions = {}): Promise<boolean> {
    const { clean = false, receiveMaximum = 0, expiryS = NEVER_EXPIRES_S } = options;
    const socket = openSocket({ port, host: '127.0.0.1', noDelay: true });
    this.#socket = socket;
    this.#unread = Buffer.alloc(0);
    this.#pings = 0;
    this.#pongs = 0;
    socket.on('data', (chunk) => {
      if (this.#socket === socket) this.#receive(chunk);
    });
    socket.on('error', () => {}); // close follows
    socket.on('close', () => {
      if (this.#socket === socket) this.#gone();
    });
    const limits = receiveMaximum === 0 ? [] : [property.receiveMaximum(receiveMaximum)];
    const properties = this.level === 5 ? [property.sessionExpiryS(expiryS), ...limits] : [];
    this.send(connect(this.level, { clientId: this.name, clean, properties }));
    return this.until('it is accepted', () => this.isOpen);
  }

  send(bytes: Buffer): void {
    this.#socket?.write(bytes);
  }

  /** Cuts the line; what was not read is lost. */
  cut(): void {
    if (this.#socket === null) return;
    this.#socket.destroy();
    this.#gone();
  }

  /** True once the broker has handled everything that was sent before. */
  ping(): Promise<boolean> {
    const ping = ++this.#pings;
    this.send(pingreq);
    return this.until('its ping is answered', () => this.#pongs >= ping);
  }

  /** True when `holds`, looked at after each packet; false when the line is gone before. */
  until(what: string, holds: () => boolean): Promise<boolean> {
    if (holds()) return Promise.resolve(true);
    if (this.#socket === null) return Promise.resolve(false);
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.#events.violation(`${this.name} waited ${WAIT_MS_MAX} ms until ${what}`);
        this.#waits = this.#waits.filter((other) => other !== wait);
        resolve(false);
      }, WAIT_MS_MAX);
      const wait: Wait = {
        holds,
        settle(held) {
          clearTimeout(timer);
          resolve(held);
        },
      };
      this.#waits.push(wait);
    });
  }

  /** Resolves when the line is gone. */
  async untilGone(): Promise<void> {
    await this.until('the line is gone', () => this.#socket === null);
  }

  #receive(chunk: Buffer): void {
    this.#unread = this.#unread.length === 0 ? chunk : Buffer.concat([this.#unread, chunk]);
    const socket = this.#socket;
    let at = 0;
    for (let packet = splitPacket(this.#unread); packet !== null; packet = splitPacket(this.#unread.subarray(at))) {
      at += packet.bytes.length;
      this.#take(packet);
      this.#look();
      if (this.#socket !== socket) return; // cut by what it was told
    }
    this.#unread = this.#unread.subarray(at);
  }

  #take(packet: Packet): void {
    switch (packet.type) {
      case CONNACK: {
        const { flags, reason } = readConnack(packet, this.level);
        if (reason !== 0) {
          this.#events.violation(`${this.name} was refused with reason 0x${reason.toString(16)}`);
          return;
        }
        this.isOpen = true;
        this.#events.opened((flags & 1) === 1);
        return;
      }
      case PINGRESP:
        this.#pongs++;
        return;
      case DISCONNECT: {
        const { reason } = readReason(packet);
        if (reason !== SERVER_SHUTTING_DOWN)
          this.#events.violation(`${this.name} was disconnected with reason 0x${reason.toString(16)}`);
        return;
      }
      default:
        this.#events.packet(packet);
    }
  }

  #gone(): void {
    this.#socket = null;
    this.isOpen = false;
    this.#unread = Buffer.alloc(0);
    this.#events.closed();
    this.#look();
  }

  #look(): void {
    const waits = this.#waits;
    this.#waits = waits.filter(({ holds, settle }) => {
      const held = holds();
      if (held || this.#socket === null) settle(held);
      return !held && this.#socket !== null;
    });
  }
}
