// Figures as people read them in the tables of the comparison.
import { showMs } from '../plan/quantity.ts';

const STEPS = [
  [1e9, 'G'],
  [1e6, 'M'],
  [1e3, 'k'],
] as const;

/** Three significant digits: `5.54 M`, `91.1 k`, `870`. */
function scaled(value: number): string {
  const [step, letter] = STEPS.find(([own]) => value >= own * 0.9995) ?? [1, ''];
  const own = value / step;
  const text = own === 0 ? '0' : own >= 100 ? own.toFixed(0) : own.toPrecision(3);
  return letter === '' ? text : `${text} ${letter}`;
}

export const showRate = (value: number): string => scaled(value);
export const showGigabytes = (bytes: number): string => (bytes / 1e9).toPrecision(3);
export const showKilobytes = (bytes: number): string => `${(bytes / 1e3).toFixed(1)} kB`;
export const showMegabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`;
export const showLatency = showMs;
export const showNanoseconds = (ns: number): string => `${ns.toFixed(0)} ns`;
export const showShare = (share: number): string => `${(share * 100).toFixed(1)} %`;

/** A ratio: `12.3`, `0.85`, `0.0041`. */
export function showRatio(ratio: number): string {
  if (ratio < 0.1) return ratio.toPrecision(2);
  return ratio >= 100 ? ratio.toFixed(0) : ratio >= 10 ? ratio.toFixed(1) : ratio.toFixed(2);
}
