// A sink that writes down what the transport does and checks the contract while it does: one call at a time, none inside a call
// to Link, returns in number and order, linkClosed once and last.
import { CloseCause, Lent, type Link, type LinkSink } from '../../engine/link.ts';

export class Recorder implements LinkSink {
  readonly link: Link;
  readonly received: Uint8Array[] = [];
  receivedBytes = 0;
  drained = 0;
  returned = 0;
  keptWrites = 0;
  closed: CloseCause | null = null;
  /** The first breach of the contract. */
  breach: string | null = null;
  onBytes: ((chunk: Uint8Array) => void) | null = null;
  onReturned: (() => void) | null = null;
  private inLink = false;
  private inSink = false;

  constructor(link: Link) {
    this.link = link;
  }

  write(block: Uint8Array, from = 0, to = block.length): Lent {
    const lent = this.call(() => this.link.write(block, from, to));
    if (lent === Lent.KEPT) this.keptWrites++;
    return lent;
  }

  flush(): void {
    // Said by the result, not by calls.
    if (this.call(() => this.link.flush()) === Lent.RETURNED) this.returned = this.keptWrites;
  }

  /** Makes a call to Link, during which none may come back. */
  call<Result>(action: () => Result): Result {
    const outer = this.inLink;
    this.inLink = true;
    try {
      return action();
    } finally {
      this.inLink = outer;
    }
  }

  linkBytes(chunk: Uint8Array, from: number, to: number): void {
    this.enter('linkBytes', () => {
      const copy = chunk.slice(from, to);
      this.receivedBytes += copy.length;
      if (this.onBytes === null) this.received.push(copy);
      else this.onBytes(copy);
    });
  }

  linkReturned(): void {
    this.enter('linkReturned', () => {
      this.returned++;
      if (this.returned > this.keptWrites) this.breach ??= 'a block was returned that was not kept';
      this.onReturned?.();
    });
  }

  linkDrained(): void {
    this.enter('linkDrained', () => {
      this.drained++;
    });
  }

  linkClosed(cause: CloseCause): void {
    this.enter('linkClosed', () => {
      this.closed = cause;
    });
  }

  private enter(name: string, action: () => void): void {
    if (this.inLink) this.breach ??= `${name} inside a call to Link`;
    if (this.inSink) this.breach ??= `${name} inside another call`;
    if (this.closed !== null) this.breach ??= `${name} after linkClosed`;
    this.inSink = true;
    action();
    this.inSink = false;
  }
}

export const causeName = (cause: CloseCause | null): string =>
  Object.entries(CloseCause).find(([, value]) => value === cause)?.[0] ?? 'open';
