// Whether the disk under the spool can be relied on: it has room, it is full for now, or it has failed for good. Told once when it
// changes; the figures' STATE says it to the engine, which refuses what could not be kept.
import { type Disk, DiskError, DiskFault } from './disk.ts';
import { Figure, type Figures, SpoolState } from './figures.ts';
import { MetaRow, RowKind, rowKey } from './rows.ts';
import type { SpoolClock, SpoolEvents, SpoolSettings } from './surroundings.ts';

const LOOK_MS = 1_000;
/**
 * The file is written anew when at least half of it holds nothing, it is worth the while, and what it holds is copied within about a second.
 * So after a drain the file is below COMPACT_FILE_BYTES_MIN or at most twice what it holds, unless more than COMPACT_USED_BYTES_MAX are held.
 */
const COMPACT_FILE_BYTES_MIN = 16 * 1_048_576;
const COMPACT_USED_BYTES_MAX = 512 * 1_048_576;
const COMPACT_LOOK_MS = 5_000;
const PROBE = new Uint8Array(8);
/** A disk that was full has room again from here on, or when half of the file holds nothing. */
const ROOM_BYTES = 4 * 1_048_576;

export class DiskHealth {
  readonly #disk: Disk;
  readonly #settings: SpoolSettings;
  readonly #clock: SpoolClock;
  readonly #figures: Figures;
  readonly #events: SpoolEvents;
  #lookedAtMs = -Infinity;
  #probedAtMs = -Infinity;
  #compactAtMs = -Infinity;
  /** Below the floor that the settings give. */
  #isLow = false;

  constructor(disk: Disk, settings: SpoolSettings, clock: SpoolClock, figures: Figures, events: SpoolEvents) {
    this.#disk = disk;
    this.#settings = settings;
    this.#clock = clock;
    this.#figures = figures;
    this.#events = events;
  }

  /** Looks once a second whether the disk has room. */
  look(): void {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - this.#lookedAtMs < LOOK_MS) return;
    this.#lookedAtMs = nowMs;
    const { diskFloorBytes } = this.#settings;
    const isLow = diskFloorBytes > 0 && this.#disk.availableBytes() < diskFloorBytes;
    if (isLow && !this.#isLow)
      this.#full('the disk is down to its floor: QoS 1 and 2 messages for persistent sessions are refused');
    if (!isLow && this.#isLow) this.#good('the disk has room again');
    this.#isLow = isLow;
  }

  /**
   * Asks a disk that was full whether it has room again, once a second: for a time in which nothing else waits to be written, since
   * nothing else would find out then.
   */
  probe(): void {
    const nowMs = this.#clock.monotonicMs();
    if (this.#figures.state !== SpoolState.FULL || this.#isLow || nowMs - this.#probedAtMs < LOOK_MS) return;
    this.#probedAtMs = nowMs;
    try {
      this.#disk.transact((writer) => writer.put(rowKey(RowKind.META, 0, MetaRow.PROBE), PROBE));
    } catch (error) {
      this.failed(error);
      return;
    }
    this.succeeded();
  }

  /** The disk took a step. One that was full has room when more than that would fit: a small step finds a place for long. */
  succeeded(): void {
    if (this.#figures.state !== SpoolState.FULL || this.#isLow) return;
    const { fileBytes, freeBytes } = this.#disk.usage();
    if (this.#disk.availableBytes() < ROOM_BYTES && freeBytes < fileBytes / 2) return;
    this.#good('the spool has room again');
  }

  /** The disk did not take a step, or the key file a write. Throws what is no fault of theirs. */
  failed(error: unknown): void {
    if (!(error instanceof DiskError)) throw error;
    if (error.fault === DiskFault.FULL) {
      this.#full(
        'the disk is full: QoS 1 and 2 messages for persistent sessions are refused, and what was taken is not acknowledged yet',
      );
      return;
    }
    if (this.isSound)
      this.#events.trouble(`the spool failed and acknowledges nothing more; check the disk and start again (${error.message})`);
    this.#figures.state = SpoolState.BROKEN;
  }

  /** Whether the disk has not failed for good. */
  get isSound(): boolean {
    return this.#figures.state !== SpoolState.BROKEN;
  }

  /** Gives the file's space back when most of it holds nothing; for a time in which nothing else is to be done. */
  compactIfWasteful(): void {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs < this.#compactAtMs || this.#figures.state !== SpoolState.GOOD) return;
    this.#compactAtMs = nowMs + COMPACT_LOOK_MS;
    const { fileBytes, freeBytes } = this.#disk.usage();
    this.#figures.set(Figure.FILE_BYTES, fileBytes);
    const usedBytes = fileBytes - freeBytes;
    if (fileBytes < COMPACT_FILE_BYTES_MIN || freeBytes < usedBytes || usedBytes > COMPACT_USED_BYTES_MAX) return;
    try {
      this.#disk.compact();
    } catch (error) {
      // No room for a second file: the first one is as it was.
      if (!(error instanceof DiskError) || error.fault !== DiskFault.FULL) this.failed(error);
      return;
    }
    this.#figures.add(Figure.COMPACTIONS, 1);
    this.#figures.set(Figure.FILE_BYTES, this.#disk.usage().fileBytes);
  }

  #full(message: string): void {
    if (this.#figures.state === SpoolState.GOOD) this.#events.trouble(message);
    if (this.#figures.state !== SpoolState.BROKEN) this.#figures.state = SpoolState.FULL;
  }

  #good(message: string): void {
    if (this.#figures.state !== SpoolState.FULL) return;
    this.#figures.state = SpoolState.GOOD;
    this.#events.trouble(message);
  }
}
