// A process with one broker in it, whose engine tells on request what it allocates and which functions it deoptimises. It is started from
// the build: what runs tests in TypeScript would be watched too.
//
// Told by IPC: `begin` and `end` of what is to be watched, each answered by a `Sample`; in between V8's own traces go to standard output.
// `control` does what the engine must not do, so that a watch which sees nothing is found out.
import v8 from 'node:v8';
import { startBroker } from '../broker.ts';

/** What is held after a full collection, in bytes. */
export interface Sample {
  readonly heap: number;
  readonly arrayBuffers: number;
}

export interface Ready {
  readonly tcp: number;
  readonly ws: number;
}

export const Command = { BEGIN: 'begin', END: 'end', CONTROL: 'control', STOP: 'stop' } as const;
export type Command = (typeof Command)[keyof typeof Command];

/** What the control allocates, and how often it has a function deoptimised: the watch must see both. */
export const CONTROL_OBJECTS = 1_000_000;
export const CONTROL_DEOPTIMISATIONS = 4;

const TRACES = ['trace-gc', 'trace-gc-nvp', 'trace-deopt', 'trace-deopt-verbose'] as const;

function sample(): Sample {
  // A second one, since finalizers of the first may free more.
  gc!();
  gc!();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return { heap: heapUsed, arrayBuffers };
}

function begin(): Sample {
  const held = sample();
  for (const trace of TRACES) v8.setFlagsFromString(`--${trace}`);
  return held;
}

function end(): Sample {
  gc!(); // what was allocated since the last collection is told by this one
  for (const trace of TRACES) v8.setFlagsFromString(`--no-${trace}`);
  return sample();
}

const kept: { readonly at: number }[] = [];

/** One small object for each of so many messages that are not sent, and a function that is optimised in vain again and again. */
function control(): void {
  for (let at = 0; at < CONTROL_OBJECTS; at++) kept[at & 63] = { at };
  v8.setFlagsFromString('--allow-natives-syntax');
  const prepare = new Function('looping', '%PrepareFunctionForOptimization(looping)');
  const optimise = new Function('looping', '%OptimizeFunctionOnNextCall(looping)');
  for (let round = 0; round < CONTROL_DEOPTIMISATIONS; round++) {
    const looping = new Function(`return function looping(value) { return value + ${round}; }`)() as (value: unknown) => unknown;
    prepare(looping);
    looping(1);
    looping(2);
    optimise(looping);
    looping(3);
    looping('not a number');
  }
}

const broker = await startBroker(['server.sys_interval_s=0']);
process.on('message', (command: Command) => {
  if (command === Command.STOP) process.exit();
  if (command === Command.CONTROL) control();
  process.send!(command === Command.BEGIN ? begin() : command === Command.END ? end() : {});
});
// Whoever started it is gone.
process.on('disconnect', () => process.exit());
process.send!({ tcp: broker.tcp, ws: broker.ws } satisfies Ready);
