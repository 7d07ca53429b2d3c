// The comparison with the peers: what samples come to, what is said of those who fail or lose, how cells and brokers are chosen, and one real
// cell with two brokers from end to end.
import { describe, expect, test } from 'vitest';
import { aedes } from '../../bench/contestants/aedes.ts';
import { LETHE_MAIN, lethe } from '../../bench/contestants/lethe.ts';
import { relay } from '../../bench/contestants/relay.ts';
import { stranger } from '../../bench/contestants/stranger.ts';
import type { Cell, Figure, Sample } from '../../bench/peers/cell.ts';
import { cells } from '../../bench/peers/cells.ts';
import { type CellResult, type Contender, contest, type Entry } from '../../bench/peers/contest.ts';
import { withSection } from '../../bench/peers/document.ts';
import { parseFlags } from '../../bench/peers/flags.ts';
import { lineUp } from '../../bench/peers/lineup.ts';
import { obstacle } from '../../bench/peers/packages.ts';
import { renderPlot } from '../../bench/peers/plot.ts';
import { standingOf } from '../../bench/peers/standing.ts';
import { renderTables } from '../../bench/peers/table.ts';
import { Failure } from '../../engine/cli/failure.ts';

const NAMES = ['lethe', 'mosquitto', 'nats', 'aedes'];
const LIMIT_S = 30;

const rate: Figure = {
  key: 'rate',
  title: '',
  better: 'more',
  show: (value) => `${value} /s`,
  aims: [{ timesBest: 2 }, { atLeast: 1_000 }],
};
const p99: Figure = { key: 'p99', title: 'p99', better: 'less', show: (value) => `${value} ms`, aims: [{ timesBest: 1 }] };

function sample(figures: Sample['figures'], change: Partial<Sample> = {}): Sample {
  return { figures, cpuPerMillionS: 1.5, residentBytes: 50 * 1_048_576, wrongs: {}, bound: null, ...change };
}

function entry(name: string, samples: readonly Sample[], failure: string | null = null): Entry {
  return { name, role: name === 'lethe' ? 'lethe' : 'peer', samples, failure };
}

function resultOf(figures: readonly Figure[], entries: readonly Entry[]): CellResult {
  const measure = () => Promise.reject(new Error('is not measured here'));
  return { cell: { key: 'cell', group: 'Group', title: 'A cell', figures, limitS: LIMIT_S, measure }, entries };
}

describe('standing', () => {
  const rates = (...values: number[]) => values.map((value) => sample({ rate: value }));

  test('medians beside the best peer; what is short says how far', () => {
    const result = resultOf(
      [rate],
      [
        entry('lethe', rates(100, 900, 300)),
        entry('mosquitto', rates(50, 60, 70)),
        entry('nats', rates(300, 200, 100)),
        entry('aedes', [], 'was not done within 30 s'),
      ],
    );
    const { best, ratio, verdicts } = standingOf(result, rate);
    expect(best).toEqual({ name: 'nats', value: 200 });
    expect(ratio).toBe(1.5);
    expect(verdicts).toEqual([
      { aim: '≥ 2 × the best peer', isMet: false, words: 'short: 1.50 of 2' },
      { aim: '≥ 1000 /s', isMet: false, words: 'short: 300 /s of 1000 /s' },
    ]);
  });

  test('where less is better the best is the least, and the ratio is above 1 when Lethe is below it', () => {
    const of = (value: number) => [sample({ p99: value })];
    const ahead = standingOf(resultOf([p99], [entry('lethe', of(2)), entry('nats', of(3)), entry('aedes', of(9))]), p99);
    expect(ahead).toMatchObject({ best: { name: 'nats' }, ratio: 1.5, verdicts: [{ aim: 'below every peer', isMet: true }] });
    const behind = standingOf(resultOf([p99], [entry('lethe', of(6)), entry('nats', of(3))]), p99);
    expect(behind).toMatchObject({ ratio: 0.5, verdicts: [{ isMet: false, words: 'short: 0.50 of 1' }] });
  });

  test('nothing is judged by a broker that failed, nor without a peer', () => {
    const failed = resultOf([rate], [entry('lethe', rates(900), 'ended with SIGSEGV'), entry('nats', rates(100))]);
    expect(standingOf(failed, rate)).toMatchObject({ ratio: null, verdicts: [{ isMet: null }, { isMet: null }] });
    const alone = resultOf([rate], [entry('lethe', rates(2_000)), entry('nats', [], 'is not there over ws')]);
    expect(standingOf(alone, rate)).toMatchObject({ best: null, ratio: null, verdicts: [{ isMet: null }, { isMet: true }] });
  });

  test('another build of Lethe is no peer', () => {
    const build: Entry = { ...entry('lethe-also-1', rates(800)), role: 'build' };
    const result = resultOf([rate], [entry('lethe', rates(400)), build, entry('nats', rates(100))]);
    expect(standingOf(result, rate)).toMatchObject({ best: { name: 'nats' }, ratio: 4 });
  });
});

describe('table', () => {
  test('figures with range, marks, reasons and counts of what went wrong', () => {
    const text = renderTables(
      [
        resultOf(
          [rate],
          [
            entry('lethe', [sample({ rate: 3_000 }, { bound: "the load's core was 99 % busy" }), sample({ rate: 5_000 })]),
            entry('mosquitto', [sample({ rate: 500 }, { wrongs: { lost: 1_234, duplicated: 1 } }), sample({ rate: 500 })]),
            entry('nats', [], 'accepts it all and delivers nothing'),
          ],
        ),
      ],
      NAMES,
    );
    expect(text).toContain(
      '| A cell (`cell`) | 4000 /s (3000 /s to 5000 /s) † | 500 /s (500 /s to 500 /s) ⚠ | no | – | 8.00 × mosquitto | ≥ 2 × the best peer; ≥ 1000 /s | yes; yes |',
    );
    expect(text).toContain('| `cell` | 1.5 · 50 | 1.5 · 50 | – | – |');
    expect(text).toContain('- ⚠ `cell`, mosquitto: 1,234 lost, 1 duplicated');
    expect(text).toContain('- `cell`, nats: no figure, since it accepts it all and delivers nothing');
    expect(text).toContain("`cell` lethe (the load's core was 99 % busy)");
    expect(text).not.toContain('No message was lost');
  });

  test('that nothing was lost is said only where messages were counted', () => {
    const clean = renderTables([resultOf([rate], [entry('lethe', [sample({ rate: 1 })])])], NAMES);
    expect(clean).toContain('No message was lost');
    const still = renderTables([resultOf([rate], [entry('lethe', [sample({ rate: 1 }, { cpuPerMillionS: null })])])], NAMES);
    expect(still).not.toContain('No message was lost');
  });

  test('it goes between its markers, and nowhere else', () => {
    const document = 'before\n<!-- peers -->\nold\n<!-- /peers -->\nafter\n';
    expect(withSection(document, 'new')).toBe('before\n<!-- peers -->\nnew\n<!-- /peers -->\nafter\n');
    expect(() => withSection('before\n', 'new')).toThrow(/has no <!-- peers -->/);
  });
});

test('plot: a bar for each figure with a peer, peers in the legend, none without', () => {
  const compared = resultOf([rate], [entry('lethe', [sample({ rate: 8_000 })]), entry('nats', [sample({ rate: 1_000 })])]);
  const svg = renderPlot([compared])!;
  // Well-formed, or no page shows it.
  for (const tag of svg.replace(/<!\[CDATA\[.*?\]\]>/s, '').match(/<[^>]*>/g)!)
    expect(tag).toMatch(/^<(\/[a-z]+|[a-zA-Z]+(\s+[\w:-]+="[^"<]*")*\s*\/?)>$/);
  for (const text of ['cell', 'nats', '8.00']) expect(svg).toContain(`>${text}</text>`);
  expect(renderPlot([resultOf([rate], [entry('lethe', [sample({ rate: 1 })])])])).toBeNull();
});

describe('command line', () => {
  const parse = (...args: string[]) => parseFlags(args, cells)!;

  test('cells are chosen by key, in the order of the table, with those that they need', () => {
    expect(parse('--cells', 'latency,flood').cells.map(({ key }) => key)).toEqual(['flood', 'capacity', 'latency']);
    expect(parse().cells).toHaveLength(cells.length);
    expect(new Set(cells.map(({ key }) => key)).size).toBe(cells.length);
  });

  test.each([
    [['--cells', 'flood,nope'], /there is no cell 'nope'; there are: flood, /],
    [['--rounds', '0'], /--rounds: '0' is not a positive number/],
    [['--rounds', '1.5'], /--rounds: '1.5' is not a whole number/],
    [['--seconds', 'x'], /--seconds: 'x' is not a positive number/],
    [['--pid', 'nats'], /--pid 'nats': must be NAME=PID/],
    [['--nope'], /Unknown option '--nope'/],
  ])('%j is refused', (args, message) => {
    expect(() => parse(...args)).toThrow(message);
    expect(() => parse(...args)).toThrow(Failure);
  });

  test('--address: a name and where it listens', async () => {
    const own = stranger('emqx=mqtt://broker.test:2883,ws://[::1]:8083/own,mqtts://broker.test', new Map([['emqx', 42]]));
    expect(own.name).toBe('emqx');
    const { pid, places, isForeign } = await own.start({ cores: null });
    expect({ pid, isForeign }).toEqual({ pid: 42, isForeign: true });
    expect(places).toEqual({
      tcp: { host: 'broker.test', port: 2883, path: '/mqtt' },
      ws: { host: '::1', port: 8083, path: '/own' },
      tls: { host: 'broker.test', port: 8883, path: '/mqtt' },
    });
  });

  test.each([
    ['mqtt://host', /must be NAME=mqtt:\/\/HOST:PORT/],
    ['a=host', /'host' is no address/],
    ['a=http://host', /'http:\/\/' is none of/],
    ['a=mqtt://h,tcp://h', /has two addresses for tcp/],
  ])('--address %s is refused', (text, message) => {
    expect(() => stranger(text)).toThrow(message);
  });

  test('brokers are chosen by name, those by address too', () => {
    const powers = { isRoot: false, hasApt: false, mayInstall: false };
    const wanted = { brokers: null, also: [], threads: [], guards: [], addresses: ['own=mqtt://localhost:1'], pids: new Map() };
    const names = (brokers: readonly string[]) =>
      lineUp({ ...wanted, brokers }, powers, () => {}).map(({ contestant, role }) => [contestant.name, role]);
    expect(names(['own', 'aedes', 'relay', 'lethe'])).toEqual([
      ['lethe', 'lethe'],
      ['aedes', 'peer'],
      ['relay', 'limit'],
      ['own', 'peer'],
    ]);
    expect(() => names(['lethe', 'emqx'])).toThrow(
      /there is no broker 'emqx'; there are: lethe, mosquitto, nats, aedes, relay, own/,
    );
    expect(() => lineUp({ ...wanted, addresses: ['nats=mqtt://localhost:1'] }, powers, () => {})).toThrow(
      /'nats' is the name of/,
    );
  });

  test('what cannot be installed says why, and how to get it', () => {
    const powers = { isRoot: true, hasApt: true, mayInstall: true };
    expect(obstacle('nats-server', powers)).toBeNull();
    expect(obstacle('nats-server', { ...powers, isRoot: false })).toMatch(/needs root; sudo apt-get install nats-server/);
    expect(obstacle('nats-server', { ...powers, mayInstall: false })).toMatch(
      /as --no-install says: apt-get install nats-server/,
    );
    expect(obstacle('nats-server', { ...powers, hasApt: false })).toMatch(/no apt-get here; install nats-server by hand/);
  });
});

describe('contest', () => {
  const conditions = {
    rounds: 2,
    times: { warmUpS: 0.5, measureS: 1 },
    cores: null,
    certificate: () => {
      throw new Error('nobody asked for one');
    },
  };
  const contenders: readonly Contender[] = [
    { contestant: lethe(LETHE_MAIN, 'lethe'), role: 'lethe' },
    { contestant: aedes()!, role: 'peer' },
    { contestant: relay(), role: 'limit' },
  ];

  test('a cell from end to end: every other round in the opposite order, and every message accounted for', async () => {
    const order: string[] = [];
    const cell = cells.filter(({ key }) => key === 'qos1');
    const [result] = await contest(cell, contenders, conditions, {
      sample: (_cell, name, round) => order.push(`${name} ${round}`),
      cell: () => {},
    });
    expect(order).toEqual(['lethe 0', 'aedes 0', 'relay 0', 'relay 1', 'aedes 1', 'lethe 1']);
    for (const { failure, samples } of result!.entries) {
      expect(failure).toBeNull();
      expect(samples).toHaveLength(2);
      for (const { figures, wrongs } of samples) {
        expect(figures['rate']).toBeGreaterThan(0);
        expect(wrongs).toEqual({});
      }
    }
    // What limits them all is nobody's peer.
    expect(standingOf(result!, result!.cell.figures[0]!).best?.name).toBe('aedes');
  });

  test('who cannot do a cell is named with the reason and tried no more; the others go on', async () => {
    const shared = cells.filter(({ key }) => key === 'shared');
    const order: string[] = [];
    const [result] = await contest(shared, contenders, conditions, {
      sample: (_cell, name, round) => order.push(`${name} ${round}`),
      cell: () => {},
    });
    expect(order).toEqual(['lethe 0', 'aedes 0', 'lethe 1']);
    expect(result!.entries.map(({ name, failure }) => [name, failure])).toEqual([
      ['lethe', null],
      ['aedes', 'accepts it all and delivers nothing'],
    ]);
  });

  test('a cell that does not end is given up', async () => {
    const nobody: Contender = { contestant: stranger('nobody=mqtt://127.0.0.1:1'), role: 'peer' };
    const endless: Cell = {
      ...resultOf([rate], []).cell,
      limitS: 0.1,
      measure: async ({ start, giveUp }) => {
        const { places } = await start();
        await new Promise((_, reject) => giveUp.addEventListener('abort', () => reject(giveUp.reason)));
        return sample({ rate: places.tcp!.port });
      },
    };
    const results = await contest([endless], [nobody], { ...conditions, rounds: 1 }, { sample: () => {}, cell: () => {} });
    expect(results[0]!.entries[0]).toMatchObject({ failure: expect.stringMatching(/was not done within 1\.6/), samples: [] });
  });
});
