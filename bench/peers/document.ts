// Where the comparison goes in docs/PERFORMANCE.md: between two markers, which stay.
import { Failure } from '../../engine/cli/failure.ts';

export const BEGIN = '<!-- peers -->';
export const END = '<!-- /peers -->';

/** The document with `section` between its markers. */
export function withSection(document: string, section: string): string {
  const from = document.indexOf(BEGIN);
  const to = document.indexOf(END);
  if (from < 0 || to < from) throw new Failure(`the document has no ${BEGIN} with ${END} behind it, to write between`);
  return `${document.slice(0, from + BEGIN.length)}\n${section.trim()}\n${document.slice(to)}`;
}
