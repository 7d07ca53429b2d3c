// Which version of MQTT a bridge speaks next. A remote broker that does not know one says so in CONNACK, and then the next older one is tried; one that closes without a word may only be on its way down or up, so the newest
// version is given up for a moment only after some of those, and never for good.
import { Level } from '../../protocol/packet.ts';
import type { BridgeConfig } from '../config/bridges.ts';

export interface Manner {
  readonly level: Level;
  /** Says in CONNECT, as Mosquitto does, that this is a bridge (MQTT 3.1.1 has no other way to be spared one's own messages). */
  readonly isPrivate: boolean;
}

/** Closes without a CONNACK after which another version is tried once. */
const SILENT_MAX = 3;

export class ProtocolChoice {
  readonly #manners: readonly Manner[];
  /** What was refused in so many words is before this. */
  #at = 0;
  #silent = 0;
  /** Whether the version that comes first has been accepted. */
  #isKnown = false;

  constructor({ protocolVersion, tryPrivate }: Pick<BridgeConfig, 'protocolVersion' | 'tryPrivate'>) {
    const older: Manner[] = [{ level: Level.V311, isPrivate: false }];
    if (tryPrivate) older.unshift({ level: Level.V311, isPrivate: true });
    const newest: Manner = { level: Level.V5, isPrivate: false };
    this.#manners = protocolVersion === 'mqttv50' ? [newest] : protocolVersion === 'mqttv311' ? older : [newest, ...older];
  }

  /** For the next connection. */
  get manner(): Manner {
    const aside = Math.floor(this.#silent / SILENT_MAX);
    return this.#manners[this.#at + (aside % (this.#manners.length - this.#at))]!;
  }

  /** A CONNACK accepted. */
  accepted(): void {
    if (this.manner === this.#manners[this.#at]) this.#isKnown = true;
    this.#silent = 0;
  }

  /** The remote broker does not know this version. False: there is no other. */
  refused(): boolean {
    const at = this.#manners.indexOf(this.manner);
    this.#silent = 0;
    this.#isKnown = false;
    if (at + 1 >= this.#manners.length) {
      this.#at = 0;
      return false;
    }
    this.#at = at + 1;
    return true;
  }

  /** The connection stood, and was closed without a CONNACK. A broker that has once accepted the version is only on its way down or up. */
  closedSilently(): void {
    if (!this.#isKnown) this.#silent++;
  }
}
