// What the report's page runs: reads the result that lies in it and draws it with uPlot. Plain JavaScript, for a browser.

export const reportScript = `
(() => {
  'use strict';
  const result = JSON.parse(document.getElementById('result').textContent);
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim();
  const HEIGHT = 280;
  const plots = [];

  const count = (value) => value == null ? '–' : Math.abs(value) >= 1e6 ? (value / 1e6).toFixed(2) + ' M'
    : Math.abs(value) >= 1e4 ? (value / 1e3).toFixed(1) + ' k' : String(Math.round(value));
  const short = (value) => value == null ? '' : value >= 1e6 ? +(value / 1e6).toPrecision(3) + 'M'
    : value >= 1e3 ? +(value / 1e3).toPrecision(3) + 'k' : String(+value.toPrecision(3));
  const ms = (value) => value == null ? '–' : value >= 1000 ? +(value / 1000).toPrecision(3) + ' s'
    : value >= 1 ? +value.toPrecision(3) + ' ms' : Math.round(value * 1000) + ' µs';
  const percent = (nines) => nines == null ? '–' : +(100 * (1 - Math.pow(10, -nines))).toFixed(Math.max(1, Math.ceil(nines))) + ' %';

  const line = (label, name, value, scale) => ({ label, stroke: colour(name), width: 2, scale: scale || 'y', value: (_, v) => value(v),
    points: { show: (u) => u.data[0].length < 40, size: 5, fill: colour(name) } });
  const axis = (options) => Object.assign({ stroke: colour('quiet'), font: '12px system-ui', grid: { stroke: colour('line'), width: 1 },
    ticks: { stroke: colour('line'), width: 1 } }, options);

  /** Shades the stage that the figures are of. */
  const band = (u) => {
    const own = result.stages.find((stage) => stage.name === result.figures.stage);
    if (own === undefined) return;
    const inside = (pos) => Math.max(u.bbox.left, Math.min(pos, u.bbox.left + u.bbox.width));
    const from = inside(u.valToPos(own.atS, 'x', true));
    const to = inside(u.valToPos(own.atS + own.seconds, 'x', true));
    u.ctx.save();
    u.ctx.fillStyle = colour('band');
    u.ctx.fillRect(from, u.bbox.top, to - from, u.bbox.height);
    u.ctx.restore();
  };

  const draw = (id, data, series, options) => {
    const section = document.getElementById(id);
    if (data[0].length === 0 || data.slice(1).every((row) => row.every((value) => value == null))) { section.remove(); return; }
    const area = section.querySelector('.area');
    const plot = new uPlot(Object.assign({ width: area.clientWidth, height: HEIGHT, series: [options.x].concat(series),
      legend: { live: true }, cursor: { drag: { x: true, y: false } }, padding: [12, 12, 0, 0] }, options.uplot), data, area);
    plots.push([plot, area]);
  };

  // What is left of a second at the end says little.
  const seconds = result.seconds.filter((second) => second.spanS > 0.2);
  const rate = (key) => seconds.map((second) => second[key] / second.spanS);
  // In the middle of the second that it is of.
  const time = seconds.map((second) => second.second + 0.5);
  const column = (key) => seconds.map((second) => second[key]);
  const overTime = { x: { label: 'second', value: (_, v) => v == null ? '–' : String(Math.floor(v)) } };
  const timeAxis = () => axis({ values: (_, splits) => splits.map((v) => Number.isInteger(v) ? v + ' s' : '') });
  const positive = (values) => values.map((value) => value == null ? null : Math.max(value, 0.001));
  const logScales = { x: { time: false }, y: { distr: 3 } };

  const render = () => {
    const hasDeliveries = seconds.some((second) => second.received > 0);
    const hasMessages = hasDeliveries || seconds.some((second) => second.sent > 0);
    const throughput = [];
    if (seconds.some((second) => second.sent > 0)) throughput.push(['sent', 'three', rate('sent')]);
    if (hasDeliveries) throughput.push(['received', 'one', rate('received')]);
    if (!hasMessages) throughput.push(['connected', 'one', column('connected')]);
    draw('throughput', [time].concat(throughput.map((row) => row[2])), throughput.map((row) => line(row[0], row[1], count)),
      Object.assign({ uplot: { scales: { x: { time: false }, y: { range: (_, min, max) => [0, max * 1.08 || 1] } },
        axes: [timeAxis(), axis({ size: 58, values: (_, splits) => splits.map(short) })], hooks: { drawClear: [band] } } }, overTime));

    draw('latency', [time, positive(column('p50')), positive(column('p99')), positive(column('max'))],
      [line('p50', 'one', ms), line('p99', 'two', ms), line('max', 'three', ms)],
      Object.assign({ uplot: { scales: logScales, axes: [timeAxis(), axis({ size: 66, values: (_, splits) => splits.map((v) => v == null ? '' : ms(v)) })],
        hooks: { drawClear: [band] } } }, overTime));

    const curve = result.figures.latencyCurve;
    draw('percentiles', [curve.map((point) => -Math.log10(1 - point[0] / 100)), positive(curve.map((point) => point[1]))],
      [Object.assign(line('latency', 'one', ms), { points: { show: false } })],
      { x: { label: 'percentile', value: (_, v) => percent(v) }, uplot: { scales: logScales,
        axes: [axis({ incrs: [1, 2, 3], space: 76, values: (_, splits) => splits.map((v) => Number.isInteger(v) ? percent(v) : '') }),
          axis({ size: 66, values: (_, splits) => splits.map((v) => v == null ? '' : ms(v)) })] } });

    draw('broker', [time, column('cpuCores'), column('residentBytes').map((bytes) => bytes == null ? null : bytes / 1048576)],
      [line('cores', 'one', (v) => v == null ? '–' : v.toFixed(2)), line('MiB', 'two', count, 'memory')],
      Object.assign({ uplot: { scales: { x: { time: false }, y: { range: (_, min, max) => [0, Math.max(1, max) * 1.08] }, memory: { range: (_, min, max) => [0, max * 1.15 || 1] } },
        axes: [timeAxis(), axis({ size: 46 }), axis({ scale: 'memory', side: 1, size: 62, grid: { show: false }, values: (_, splits) => splits.map((v) => short(v) + ' MiB') })],
        hooks: { drawClear: [band] } } }, overTime));
  };

  render();
  new ResizeObserver(() => {
    for (const [plot, area] of plots) if (area.clientWidth > 0 && plot.width !== area.clientWidth) plot.setSize({ width: area.clientWidth, height: HEIGHT });
  }).observe(document.body);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
    for (const [plot, area] of plots.splice(0)) { plot.destroy(); area.replaceChildren(); }
    render();
  });
})();
`;
