// What the live page runs: asks /v1/live every second, keeps five minutes, draws them with uPlot. Plain JavaScript, for a browser. The token stands in the tab's session storage
// and in a header, never in an address.

export const liveScript = `
(() => {
  'use strict';
  const POINTS = 300;
  const EVERY_MS = 1000;
  const LATENCY_SECONDS = 10;
  const STORED = 'lethe-token';
  const BOUNDS_MS = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500];
  const HEIGHT = 190;
  const find = (id) => document.getElementById(id);
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim();

  const count = (value) => value == null ? '–' : Math.abs(value) >= 1e9 ? (value / 1e9).toFixed(2) + ' G' : Math.abs(value) >= 1e6 ? (value / 1e6).toFixed(2) + ' M'
    : Math.abs(value) >= 1e4 ? +(value / 1e3).toFixed(1) + ' k' : String(Math.round(value));
  const short = (value) => value == null ? '' : value >= 1e9 ? +(value / 1e9).toPrecision(3) + 'G' : value >= 1e6 ? +(value / 1e6).toPrecision(3) + 'M'
    : value >= 1e3 ? +(value / 1e3).toPrecision(3) + 'k' : String(+value.toPrecision(3));
  const bytes = (value) => value == null ? '–' : value >= 1073741824 ? (value / 1073741824).toFixed(1) + ' GiB' : value >= 1048576 ? (value / 1048576).toFixed(1) + ' MiB'
    : value >= 1024 ? (value / 1024).toFixed(1) + ' KiB' : value + ' B';
  const span = (ms) => ms == null ? '–' : ms >= 172800000 ? +(ms / 86400000).toFixed(1) + ' d' : ms >= 7200000 ? +(ms / 3600000).toFixed(1) + ' h'
    : ms >= 120000 ? +(ms / 60000).toFixed(1) + ' min' : ms >= 1000 ? +(ms / 1000).toPrecision(3) + ' s' : ms >= 1 ? +ms.toPrecision(3) + ' ms' : ms > 0 ? Math.round(ms * 1000) + ' µs' : '0 ms';

  /** Five minutes of each row, the oldest first. */
  const time = [];
  const rows = {};
  const NAMES = ['received', 'sent', 'dropped', 'clients', 'slow', 'held', 'queued', 'age', 'lag', 'bound', 'p50', 'p99', 'loop', 'resident', 'heap'];
  for (const name of NAMES) rows[name] = [];
  let before = null;
  const latencies = [];
  let token = sessionStorage.getItem(STORED) || '';
  let running = 0;

  const series = (label, name, value, extra) => Object.assign({ label, stroke: colour(name), width: 1.75, value: (_, v) => value(v), points: { show: false } }, extra);
  const axis = (options) => Object.assign({ stroke: colour('quiet'), font: '12px system-ui', grid: { stroke: colour('line'), width: 1 },
    ticks: { stroke: colour('line'), width: 1, size: 4 }, gap: 4 }, options);
  const PLOTS = [
    { id: 'throughput', show: count, tick: short, whole: true, rows: [['received', 'received', 'three'], ['delivered', 'sent', 'one'], ['dropped', 'dropped', 'two']] },
    { id: 'clients', show: count, tick: short, whole: true, rows: [['connected', 'clients', 'one'], ['slow', 'slow', 'two']] },
    { id: 'held', show: count, tick: short, whole: true, rows: [['held', 'held', 'one'], ['waiting', 'queued', 'three']] },
    { id: 'age', show: span, tick: span, rows: [['age', 'age', 'one']] },
    { id: 'erasure', show: span, tick: span, spool: true, rows: [['lag', 'lag', 'one'], ['bound', 'bound', 'two', { dash: [6, 4] }]] },
    { id: 'latency', show: span, tick: span, rows: [['p50', 'p50', 'one'], ['p99', 'p99', 'two']] },
    { id: 'loop', show: span, tick: span, rows: [['p99', 'loop', 'one']] },
    { id: 'memory', show: bytes, tick: bytes, incrs: Array.from({ length: 24 }, (_, at) => 1048576 * 2 ** at), rows: [['resident', 'resident', 'one'], ['heap', 'heap', 'three']] },
  ];

  /** Seconds: a minute at first, then all five. */
  const shown = () => time.length > 60 ? POINTS : 60;
  const widthOf = (area) => Math.max(200, area.clientWidth);
  const drawn = [];
  const draw = () => {
    for (const { plot } of drawn.splice(0)) plot.destroy();
    for (const own of PLOTS) {
      const area = find(own.id).querySelector('.area');
      const incrs = own.whole ? [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6, 2e6, 5e6, 1e7] : own.incrs;
      const plot = new uPlot({
        width: widthOf(area), height: HEIGHT, padding: [10, 14, 0, 0],
        scales: { x: { time: false, range: () => [-shown(), 0] }, y: { range: (_, min, max) => [0, max > 0 ? max * 1.1 : 1] } },
        axes: [axis({ size: 30, incrs: [10, 20, 30, 60], values: (_, splits) => splits.map((v) => v === 0 ? 'now' : v % 60 === 0 ? v / 60 + ' min' : v + ' s') }),
          axis(Object.assign({ size: 66, values: (_, splits) => splits.map(own.tick) }, incrs ? { incrs } : {}))],
        series: [{ label: 'at', value: (_, v) => v == null || v === 0 ? 'now' : Math.round(v) + ' s' }].concat(own.rows.map(([label, , name, extra]) => series(label, name, own.show, extra))),
        cursor: { drag: { x: false, y: false } }, hooks: { setCursor: [(u) => { if (u.cursor.idx == null && u.data[0].length > 0) u.setLegend({ idx: u.data[0].length - 1 }, false); }] },
      }, [[], ...own.rows.map(() => [])], area);
      drawn.push({ plot, own, area });
    }
    refresh();
  };
  const refresh = () => {
    const last = time.length === 0 ? 0 : time[time.length - 1];
    const ago = time.map((at) => (at - last) / 1000);
    for (const { plot, own } of drawn) {
      plot.setData([ago].concat(own.rows.map((row) => rows[row[1]])));
      if (plot.cursor.idx == null && ago.length > 0) plot.setLegend({ idx: ago.length - 1 }, false);
    }
  };

  const total = (record) => Object.values(record).reduce((sum, value) => sum + value, 0);

  /** By interpolation between the bounds of what was counted in the last seconds. */
  const percentile = (share) => {
    const first = latencies[0], last = latencies[latencies.length - 1];
    const counts = last.map((value, at) => value - first[at]);
    const all = counts.reduce((sum, value) => sum + value, 0);
    if (all <= 0) return null;
    let left = share * all;
    for (let at = 0; at < counts.length; at++) {
      if (left <= counts[at]) {
        const from = at === 0 ? 0 : BOUNDS_MS[at - 1];
        return at >= BOUNDS_MS.length ? from : from + (BOUNDS_MS[at] - from) * (left / counts[at]);
      }
      left -= counts[at];
    }
    return BOUNDS_MS[BOUNDS_MS.length - 1];
  };

  const card = (name, value, alarm) => {
    const box = document.createElement('div');
    box.className = alarm ? 'card alarm' : 'card';
    const figure = box.appendChild(document.createElement('b'));
    figure.textContent = value;
    box.appendChild(document.createElement('span')).textContent = name;
    return box;
  };
  const reasonTable = (title, counts) => {
    const box = document.createElement('div');
    box.appendChild(document.createElement('h3')).textContent = title;
    const found = Object.entries(counts).filter(([, value]) => value > 0).sort((a, b) => b[1] - a[1]);
    if (found.length === 0) {
      const none = box.appendChild(document.createElement('p'));
      none.className = 'quiet';
      none.textContent = 'none since the start';
      return box;
    }
    const body = box.appendChild(document.createElement('table')).appendChild(document.createElement('tbody'));
    for (const [reason, value] of found) {
      const line = body.appendChild(document.createElement('tr'));
      line.appendChild(document.createElement('td')).textContent = reason.replaceAll('_', ' ');
      line.appendChild(document.createElement('td')).textContent = count(value);
    }
    return box;
  };

  const take = (now) => {
    const since = now.oldest.messages;
    const seconds = before === null ? 0 : (now.nowMs - before.nowMs) / 1000;
    const restarted = before !== null && now.startedMs !== before.startedMs;
    // Another broker counts from nothing.
    if (restarted) latencies.length = 0;
    const rate = (read) => seconds <= 0 || restarted ? null : Math.max(0, (read(now) - read(before)) / seconds);
    latencies.push(now.latency.counts);
    if (latencies.length > LATENCY_SECONDS + 1) latencies.shift();
    const lag = now.spool === null ? null : now.spool.erasure_lag_ms;
    const found = {
      received: rate((s) => s.counters.publishReceived), sent: rate((s) => s.counters.publishSent), dropped: rate((s) => total(s.dropped)),
      clients: now.gauges.clients, slow: now.gauges.slowConnections, held: now.gauges.heldMessages, queued: now.gauges.queuedMessages,
      age: since === null ? 0 : Math.max(0, now.nowMs - since), lag, bound: now.spool === null ? null : now.limits.eraseWithinMs,
      p50: percentile(0.5), p99: percentile(0.99), loop: Math.max(...now.loops.map((loop) => loop.delayP99Ms)),
      resident: now.process.residentBytes, heap: now.process.heapUsedBytes,
    };
    time.push(now.nowMs);
    for (const name of NAMES) rows[name].push(found[name]);
    while (time.length > POINTS + 1) {
      time.shift();
      for (const name of NAMES) rows[name].shift();
    }
    const cpu = rate((s) => s.process.cpuS);
    const network = rate((s) => s.counters.bytesReceived + s.counters.bytesSent);
    find('cards').replaceChildren(
      card('received a second', count(found.received)),
      card('delivered a second', count(found.sent)),
      card('network a second', network === null ? '–' : bytes(Math.round(network))),
      card('clients of ' + count(now.limits.connections), count(found.clients)),
      card('sessions', count(now.gauges.sessions)),
      card('subscriptions', count(now.gauges.subscriptions)),
      card('held messages', count(found.held)),
      card('held', bytes(now.gauges.heldBytes)),
      card('oldest held', since === null ? 'none' : span(found.age)),
      card('waiting deliveries', count(found.queued)),
      card('retained', count(now.gauges.retained)),
      card(lag === null ? 'erasure: nothing is stored' : 'erasure lag, bound ' + span(found.bound), lag === null ? '–' : span(lag), lag !== null && lag > found.bound),
      card('slow consumers', count(found.slow), found.slow > 0),
      card('publish to deliver, p99', span(found.p99)),
      card(now.loops.length === 1 ? 'cores busy' : 'cores busy, ' + now.loops.length + ' shards', cpu === null ? '–' : cpu.toFixed(2)),
      card('memory', bytes(found.resident)),
    );
    const refused = { 'quota exceeded': now.counters.refusedQuota, 'not authorized': now.counters.refusedRights };
    const away = { 'connects in a minute': now.counters.refusedConnectRate, 'connections of a user': now.counters.refusedUserQuota, 'banned address': now.counters.refusedBanned,
      overload: now.counters.refusedOverload, 'failed logins of an address': now.counters.authRefusedBlocked };
    find('reasons').replaceChildren(reasonTable('Messages dropped', now.dropped), reasonTable('Messages refused', refused),
      reasonTable('Connections refused', now.refusedBy), reasonTable('Turned away by a limit', away), reasonTable('Connections ended by the broker', now.endedBy));
    find('version').textContent = now.version;
    find('about').textContent = 'up ' + span(now.nowMs - now.startedMs) + (now.spool === null ? ', in memory only' : '');
    find('erasure').hidden = now.spool === null;
    before = now;
    say(now.isReady ? 'ready' : 'not ready', now.isReady ? 'good' : 'bad');
    refresh();
  };

  const say = (text, kind) => {
    find('state').textContent = text;
    find('state').className = 'state ' + kind;
  };
  const show = (isKnown) => {
    find('login').hidden = isKnown;
    if (isKnown === !find('figures').hidden) return;
    find('figures').hidden = !isKnown;
    if (isKnown) draw();
  };

  const ask = async (run) => {
    let next = EVERY_MS;
    const began = performance.now();
    try {
      const answer = await fetch('/v1/live', { headers: token === '' ? {} : { authorization: 'Bearer ' + token }, cache: 'no-store', credentials: 'omit' });
      if (run !== running) return;
      if (answer.status === 401) {
        find('wrong').textContent = token === '' ? '' : 'The broker does not know this token.';
        token = '';
        sessionStorage.removeItem(STORED);
        say('token needed', '');
        show(false);
        find('token').focus();
        return;
      }
      if (!answer.ok) throw new Error();
      const now = await answer.json();
      if (run !== running) return;
      find('leave').hidden = token === '';
      show(true);
      take(now);
    } catch {
      say('no answer', 'bad');
      next = 2 * EVERY_MS;
    }
    setTimeout(() => { if (run === running) ask(run); }, Math.max(100, next - (performance.now() - began)));
  };

  find('login').addEventListener('submit', (event) => {
    event.preventDefault();
    token = find('token').value.trim();
    find('token').value = '';
    sessionStorage.setItem(STORED, token);
    ask(++running);
  });
  find('leave').addEventListener('click', () => {
    sessionStorage.removeItem(STORED);
    location.reload();
  });
  const resize = () => { for (const { plot, area } of drawn) plot.setSize({ width: widthOf(area), height: HEIGHT }); };
  addEventListener('resize', resize);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => { if (drawn.length > 0) draw(); });
  ask(++running);
})();
`;
