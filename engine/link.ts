// The seam between a connection and whatever carries its bytes. A transport owns the socket and
// implements Link; a connection owns the protocol and implements LinkSink. Neither knows the other's kind.

export const TransportKind = { TCP: 'tcp', TLS: 'tls', WS: 'ws', WSS: 'wss', MEMORY: 'memory' } as const;
export type TransportKind = (typeof TransportKind)[keyof typeof TransportKind];

/** What the transport knows of the far end. Personal data: never logged, never counted. */
export interface Peer {
  readonly transport: TransportKind;
  /** Name of the listener in the configuration. */
  readonly listener: string;
  /** Address of the client; behind a trusted proxy the one that the PROXY header names. */
  readonly address: string;
  readonly port: number;
  /** Whether the bytes were encrypted on the last hop. */
  readonly secure: boolean;
  /** Verified client certificate; null: none was shown. */
  readonly certificate: PeerCertificate | null;
}

export interface PeerCertificate {
  /** Of its subject; empty when it has none, or several. */
  readonly commonName: string;
  /** SHA-256, in hex. */
  readonly fingerprint: string;
  /** The user name, where the listener takes it from the certificate; empty when the certificate has no such name, or several. Absent: the listener does not. */
  readonly userName?: string;
}

/** What of a client certificate is the user name. */
export type CertificateUser = 'none' | 'common_name' | 'subject' | 'san_dns' | 'san_email' | 'san_uri';

/** What became of a lent block. */
export const Lent = {
  /** The transport copied or sent everything; the block is the caller's again at once. */
  RETURNED: 0,
  /** The transport keeps the block until it calls `linkReturned`. */
  KEPT: 1,
} as const;
export type Lent = (typeof Lent)[keyof typeof Lent];

/** Why a link went down. */
export const CloseCause = {
  /** The peer closed, or the network did. */
  PEER: 0,
  /** This side called `end` or `destroy`. */
  LOCAL: 1,
  /** The transport met an error or a violation of its own protocol (for example a text frame). */
  ERROR: 2,
} as const;
export type CloseCause = (typeof CloseCause)[keyof typeof CloseCause];

/** One accepted connection, owned by its transport. Nothing here throws; calls after close do nothing. */
export interface Link {
  readonly peer: Peer;
  /**
   * Lends bytes [from, to) of `block`. Order is kept. When the result is `Lent.KEPT`, the bytes must not change until
   * `flush` has said so, or `linkReturned` has been called once for this write; those come in the order of the writes, never inside a call to Link.
   */
  write(block: Uint8Array, from: number, to: number): Lent;
  /**
   * Ends the turn: what `write` collected goes to the kernel in as few calls as the transport can. `Lent.RETURNED`: the kernel took
   * everything, and every block that was kept is the caller's again; `linkReturned` is not called for these.
   */
  flush(): Lent;
  /** Bytes that were written here and that the kernel has not taken yet. */
  unsentBytes(): number;
  /** Of these, how many the kernel has not taken at this moment: a write that is under way is unsent until all of it is taken. For a look now and then. */
  untakenBytes(): number;
  /** Stops reading. False: this transport cannot (uWebSockets has no pause for a WebSocket). Idempotent. */
  pause(): boolean;
  /** Reads again. No bytes are delivered inside the call. Idempotent. */
  resume(): void;
  /** Sends what was written, then closes; ends hard when the peer does not take it within a bounded time. */
  end(): void;
  /** Closes now and drops what was not sent. */
  destroy(): void;
}

/** The connection's side. The transport makes these calls one at a time and never inside a call to Link. */
export interface LinkSink {
  /** Borrowed: `chunk` is valid for this call only. */
  linkBytes(chunk: Uint8Array, from: number, to: number): void;
  /** The oldest kept block is the connection's again. */
  linkReturned(): void;
  /** The kernel took bytes: `unsentBytes` fell to zero, or well below what it was. */
  linkDrained(): void;
  /** Once, and last. Every kept block is returned by this. */
  linkClosed(cause: CloseCause): void;
}

/** Called by a listener for each connection that it accepts; null refuses it (the transport closes the socket). */
export type Accept = (link: Link) => LinkSink | null;

/** A listening endpoint. */
export interface Listener {
  readonly name: string;
  readonly transport: TransportKind;
  /** The bound port, also when 0 was asked for. */
  readonly port: number;
  /** Stops accepting; open links live on. Resolves when the port is free. */
  close(): Promise<void>;
  /** The last call: drops handshakes that are under way. Links are closed before this, by those who hold them. */
  destroy(): void;
}
