// Times and sizes as people write them: 30s, 500ms, 2m, 4KiB; a number alone is seconds, or bytes.

const SECONDS: Readonly<Record<string, number>> = { us: 1e-6, ms: 1e-3, s: 1, m: 60, h: 3_600 };
const BYTES: Readonly<Record<string, number>> = { B: 1, KiB: 1_024, MiB: 1_048_576 };

export const SECONDS_RULE = 'must be a time such as 30s, 500ms, 2m, or a number of seconds';
export const BYTES_RULE = 'must be a size such as 256, 4KiB, 1MiB';

/** Null when it is no time. */
export function parseSeconds(text: string): number | null {
  return parse(text, SECONDS, 's');
}

/** Null when it is no size. */
export function parseBytes(text: string): number | null {
  return parse(text, BYTES, 'B');
}

function parse(text: string, units: Readonly<Record<string, number>>, unit: string): number | null {
  const match = /^(\d+\.?\d*|\.\d+)\s*([A-Za-z]*)$/.exec(text.trim());
  if (match === null) return null;
  const factor = units[match[2] === '' ? unit : match[2]!];
  return factor === undefined ? null : Number(match[1]) * factor;
}

/** A person's time: `850 µs`, `12.3 ms`, `4.56 s`. */
export function showMs(ms: number): string {
  if (ms >= 1_000) return `${(ms / 1_000).toFixed(2)} s`;
  if (ms >= 100) return `${ms.toFixed(0)} ms`;
  if (ms >= 1) return `${ms.toFixed(ms >= 10 ? 1 : 2)} ms`;
  return `${Math.round(ms * 1_000)} µs`;
}

export function showCount(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}

export function showBytes(bytes: number): string {
  if (bytes >= 2 ** 30) return `${(bytes / 2 ** 30).toFixed(2)} GiB`;
  return bytes >= 2 ** 20 ? `${(bytes / 2 ** 20).toFixed(1)} MiB` : `${(bytes / 1_024).toFixed(1)} KiB`;
}
