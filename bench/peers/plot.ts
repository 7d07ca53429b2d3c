// The comparison as one picture: for each figure, how many times as good as the best peer Lethe is, and where the other peers are; an SVG with
// a ground of its own, so that it reads the same on a light and on a dark page.
import { type EChartsCoreOption, init } from 'echarts';
import type { CellResult, Entry } from './contest.ts';
import { showRatio } from './show.ts';
import { measured, ratioOf, standingOf } from './standing.ts';

const WIDTH = 960;
const ROW = 22;
const HEAD = 84;
const FOOT = 48;
const LABEL_GAP = 7;
const INK = '#1f2933';
const QUIET = '#52606d';
const LINES = '#d9e0e7';
const MET = '#1a7f5a';
const SHORT = '#c2410c';
const PLAIN = '#4a6fa5';
/** Colour-blind safe, and told apart by shape too. */
const PEERS = [
  { color: '#d1495b', symbol: 'diamond' },
  { color: '#8d5fd3', symbol: 'triangle' },
  { color: '#b7791f', symbol: 'rect' },
  { color: '#2b6cb0', symbol: 'circle' },
] as const;

interface Bar {
  readonly title: string;
  readonly ratio: number;
  readonly color: string;
  readonly peers: readonly { readonly name: string; readonly ratio: number }[];
}

/** Null when there is no cell with both Lethe and a peer. */
export function renderPlot(results: readonly CellResult[]): string | null {
  const bars = results.flatMap(barsOf);
  if (bars.length === 0) return null;
  const height = HEAD + bars.length * ROW + FOOT;
  const chart = init(null, null, { renderer: 'svg', ssr: true, width: WIDTH, height });
  chart.setOption(optionOf(bars));
  const svg = chart.renderToSVGString();
  chart.dispose();
  return svg;
}

function barsOf(result: CellResult): Bar[] {
  const { cell, entries } = result;
  return cell.figures.flatMap((figure) => {
    const { ratio, best, verdicts } = standingOf(result, figure);
    if (ratio === null) return [];
    const beside = verdicts.filter(({ isMet }) => isMet !== null);
    const color = beside.length === 0 ? PLAIN : beside.every(({ isMet }) => isMet) ? MET : SHORT;
    const peers = entries.flatMap((entry: Entry) => {
      const value = entry.role === 'peer' ? measured(entry, figure) : null;
      return value === null || value.median <= 0 ? [] : [{ name: entry.name, ratio: ratioOf(figure, value.median, best!.value) }];
    });
    return [{ title: `${cell.key}${figure.title === '' ? '' : ` ${figure.title}`}`, ratio, color, peers }];
  });
}

function optionOf(bars: readonly Bar[]): EChartsCoreOption {
  const names = [...new Set(bars.flatMap(({ peers }) => peers.map(({ name }) => name)))];
  const ratios = bars.flatMap(({ ratio, peers }) => [ratio, ...peers.map((peer) => peer.ratio)]);
  const decade = (value: number, round: (log: number) => number): number => 10 ** round(Math.log10(value));
  const min = Math.min(0.1, decade(Math.min(...ratios), Math.floor));
  const max = Math.max(10, decade(Math.max(...ratios) * 1.5, Math.ceil));
  return {
    animation: false,
    backgroundColor: '#ffffff',
    // Without quotes, which would end the attribute that it becomes.
    textStyle: { fontFamily: 'system-ui, sans-serif', color: INK },
    title: {
      text: 'Lethe beside the best peer of each cell',
      subtext: 'times as good as the best peer (1), logarithmic; green: aim met, orange: short of it, blue: no aim',
      left: 16,
      top: 10,
      textStyle: { fontSize: 16, color: INK },
      subtextStyle: { color: QUIET },
    },
    legend: { top: 14, right: 16, itemWidth: 10, itemHeight: 10, itemGap: 16, data: names, textStyle: { color: INK } },
    grid: { left: 210, right: 60, top: HEAD, bottom: FOOT },
    xAxis: {
      type: 'log',
      min,
      max,
      axisLabel: { color: QUIET, formatter: (value: number) => `${Number(value.toPrecision(3))}×` },
      splitLine: { lineStyle: { color: LINES } },
    },
    yAxis: {
      type: 'category',
      inverse: true,
      data: bars.map(({ title }) => title),
      axisTick: { show: false },
      axisLine: { show: false },
      axisLabel: { color: INK, interval: 0 },
    },
    series: [
      {
        name: 'Lethe',
        // A bar of its own making: those of a logarithmic axis begin at its end, and these at 1.
        type: 'custom',
        data: bars.map(({ ratio, color }, row) => ({ value: [ratio, row], itemStyle: { color } })),
        encode: { x: 0, y: 1 },
        renderItem: (_params: unknown, api: BarApi) => {
          const [to, y] = api.coord([api.value(0), api.value(1)]) as [number, number];
          const [from] = api.coord([1, api.value(1)]) as [number, number];
          const shape = { x: Math.min(from, to), y: y - ROW * 0.3, width: Math.max(1.5, Math.abs(to - from)), height: ROW * 0.6 };
          const label = {
            type: 'text',
            style: {
              text: showRatio(api.value(0)),
              // Never to the left, where the peers are.
              x: Math.max(from, to) + LABEL_GAP,
              y,
              align: 'left',
              verticalAlign: 'middle',
              fill: INK,
              fontSize: 11,
            },
          };
          return { type: 'group', children: [{ type: 'rect', shape, style: { fill: api.visual('color') } }, label] };
        },
        markLine: {
          silent: true,
          symbol: 'none',
          label: { show: false },
          lineStyle: { color: INK, type: 'solid', width: 1 },
          data: [{ xAxis: 1 }],
        },
      },
      ...names.map((name, at) => ({
        name,
        type: 'scatter',
        symbol: PEERS[at % PEERS.length]!.symbol,
        symbolSize: 8,
        itemStyle: { color: PEERS[at % PEERS.length]!.color },
        data: bars.flatMap(({ peers }, row) => peers.filter((peer) => peer.name === name).map((peer) => [peer.ratio, row])),
        z: 5,
      })),
    ],
  };
}

/** What echarts hands to `renderItem`; its own type says less. */
interface BarApi {
  value(dimension: number): number;
  coord(point: readonly number[]): number[];
  visual(name: 'color'): string;
}
