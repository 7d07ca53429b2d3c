// How the comparison goes on: on a terminal one line, written over itself, with what runs now and the time left; and everywhere a line for each
// figure that is done.
import type { Cell } from './cell.ts';
import { type CellResult, type Listener, roundsOf } from './contest.ts';
import { showRatio } from './show.ts';
import { measured, standingOf } from './standing.ts';

const CLEAR = '\r\u001b[K';
/** What starting and ending a broker and its clients adds to a sample, before there is experience. */
const OVERHEAD_S = 3;

export class Progress implements Listener {
  readonly #out: NodeJS.WriteStream;
  readonly #say: (line: string) => void;
  readonly #cells: readonly Cell[];
  readonly #rounds: number;
  readonly #names: number;
  readonly #guessS: number;
  readonly #startedMs = performance.now();
  #done = 0;

  /** @param out where the line is written over, when it is a terminal; @param say takes the lines that stay */
  constructor(
    out: NodeJS.WriteStream,
    say: (line: string) => void,
    cells: readonly Cell[],
    plan: { readonly rounds: number; readonly names: number; readonly sampleS: number },
  ) {
    this.#out = out;
    this.#say = say;
    this.#cells = cells;
    this.#rounds = plan.rounds;
    this.#names = plan.names;
    this.#guessS = plan.sampleS + OVERHEAD_S;
  }

  sample(cell: Cell, name: string, round: number): void {
    if (this.#out.isTTY) {
      const at = this.#cells.indexOf(cell) + 1;
      const parts = [
        `cell ${at} of ${this.#cells.length}: ${cell.key}`,
        name,
        `round ${round + 1} of ${roundsOf(cell, { rounds: this.#rounds })}`,
        `${span(this.#leftS())} left`,
      ];
      // A line that wraps could not be written over.
      this.#out.write(`${CLEAR}${parts.join('  ').slice(0, Math.max(20, (this.#out.columns || 80) - 1))}`);
    }
    this.#done++;
  }

  cell(result: CellResult): void {
    if (this.#out.isTTY) this.#out.write(CLEAR);
    this.#done = this.#samplesBefore(this.#cells.indexOf(result.cell) + 1);
    for (const line of linesOf(result)) this.#say(line);
  }

  #leftS(): number {
    const all = this.#samplesBefore(this.#cells.length);
    const elapsedS = (performance.now() - this.#startedMs) / 1_000;
    const eachS = this.#done === 0 ? this.#guessS : elapsedS / this.#done;
    return eachS * (all - this.#done);
  }

  /** Samples of the first `count` cells. */
  #samplesBefore(count: number): number {
    const rounds = this.#cells.slice(0, count).map((cell) => {
      return roundsOf(cell, { rounds: this.#rounds }) * (cell.isInside === undefined ? this.#names : 1);
    });
    return rounds.reduce((sum, own) => sum + own, 0);
  }
}

function linesOf(result: CellResult): string[] {
  return result.cell.figures.map((figure) => {
    const { ratio, best } = standingOf(result, figure);
    const parts = result.entries.map((entry) => {
      const value = measured(entry, figure);
      return `${entry.name} ${value === null ? 'no' : figure.show(value.median)}`;
    });
    const title = `${result.cell.key}${figure.title === '' ? '' : `, ${figure.title}`}`;
    const beside = ratio === null ? '' : `   ${showRatio(ratio)} × ${best!.name}`;
    return `${title.padEnd(30)} ${parts.map((part) => part.padEnd(19)).join(' ')}${beside}`;
  });
}

function span(seconds: number): string {
  return seconds < 90 ? `${Math.ceil(seconds)} s` : `${Math.ceil(seconds / 60)} min`;
}
