// The spool without its thread: on real files, with a clock that stands still until it is told. It can stop at any point between two
// calls as a killed process does.
import { randomBytes } from 'node:crypto';
import type { MessageView } from '../../protocol/publish.ts';
import { allocateFigures, Figures } from '../../storage/figures.ts';
import { openFolder } from '../../storage/folder.ts';
import { recoverSpool } from '../../storage/recovery.ts';
import { Spool } from '../../storage/spool.ts';
import type { Ground } from '../../storage/step.ts';
import type { RecoveryVisitor } from '../../storage/store.ts';
import type { SpoolSettings } from '../../storage/surroundings.ts';

const START_MS = Date.UTC(2026, 0, 1);
export const DAY_MS = 86_400_000;

const DEAF: RecoveryVisitor = {
  session() {},
  subscription() {},
  deliveries() {},
  inbound() {},
  retained() {},
};

export interface Content {
  readonly topic: string;
  readonly properties?: Uint8Array;
  readonly payload: string | Uint8Array;
  readonly expiresAtMs?: number;
}

export class BareSpool {
  readonly spool: Spool;
  readonly ground: Ground;
  readonly figures = new Figures(allocateFigures());
  /** What the spool said of its own accord. */
  readonly said: string[] = [];
  readonly #time: { ms: number };

  /** `after`: the clock goes on from that one. */
  constructor(folder: string, after: BareSpool | null = null, master: Uint8Array | null = null, visitor = DEAF) {
    this.#time = after === null ? { ms: 0 } : after.#time;
    const { ground, started } = openFolder(folder, master, randomBytes);
    this.ground = ground;
    const settings: SpoolSettings = { retentionMs: 31 * DAY_MS, eraseWithinMs: 1_000, diskFloorBytes: 0 };
    const clock = { wallMs: () => START_MS + this.#time.ms, monotonicMs: () => this.#time.ms };
    const events = {
      gone: (session: number, position: number) => void this.said.push(`gone ${session} ${position}`),
      retainedGone: (number: number) => void this.said.push(`retained gone ${number}`),
      trouble: (message: string) => void this.said.push(message),
    };
    this.spool = new Spool(ground, settings, clock, this.figures, events, started);
    recoverSpool(this.spool, visitor);
  }

  get nowMs(): number {
    return START_MS + this.#time.ms;
  }

  /** Time passes, and then the eraser has a turn if it wants one. */
  pass(ms: number): void {
    this.wait(ms);
    this.spool.eraser.run(false);
  }

  /** Time passes, and nothing happens. */
  wait(ms: number): void {
    this.#time.ms += ms;
  }

  /** Puts a message for each of `owed`, a session and a position. */
  put({ topic, properties = new Uint8Array(0), payload, expiresAtMs = Infinity }: Content, ...owed: [number, number][]): void {
    const bytes = Buffer.concat([Buffer.from(topic), properties, Buffer.from(payload as string)]);
    const topicBytes = Buffer.byteLength(topic);
    const payloadBytes = bytes.length - topicBytes - properties.length;
    this.spool.putMessage(bytes, 0, topicBytes, properties.length, payloadBytes, expiresAtMs);
    for (const [session, position] of owed) this.spool.addDelivery(session, position, 1, new Uint8Array(0));
    this.spool.settle();
  }

  retain(number: number, { topic, payload, expiresAtMs = Infinity }: Content): void {
    const bytes = Buffer.concat([Buffer.from(topic), Buffer.from(payload as string)]);
    const topicBytes = Buffer.byteLength(topic);
    this.spool.putRetained(
      number,
      {
        bytes,
        from: 0,
        topicBytes,
        propertyBytes: 0,
        payloadBytes: bytes.length - topicBytes,
        sinceMs: this.nowMs,
        untilMs: expiresAtMs,
        expires: expiresAtMs !== Infinity,
      },
      1,
    );
  }

  /** Payloads that a session is owed, as a read gives them. */
  owed(session: number): string[] {
    const payloads: string[] = [];
    this.spool.read(session, 0, Number.MAX_SAFE_INTEGER, (_position, _bits, _ids, view: MessageView | null) => {
      if (view !== null) payloads.push(Buffer.from(view.payload.subarray(view.payloadFrom, view.payloadTo)).toString());
      return true;
    });
    return payloads;
  }

  /** Lets go of the files as they are: what was not committed is lost, what was not erased stays. */
  kill(): void {
    this.ground.disk.close();
    this.ground.vault.close();
  }

  stop(): void {
    this.spool.stop();
    this.kill();
  }
}
