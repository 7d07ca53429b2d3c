// A broker at rest: how long it takes from its start to the first client that it accepts, and what it costs when nobody comes.
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import mqttPacket from 'mqtt-packet';
import { Failure } from '../../engine/cli/failure.ts';
import type { Place } from '../contestants/contestant.ts';
import { median } from '../median.ts';
import { cpuBetween, processCost } from '../process-cost.ts';
import type { Cell } from './cell.ts';
import { showLatency, showMegabytes, showShare } from './show.ts';

const STARTS = 5;
const SETTLE_S = 1;
const REST_S = 5;
const CONNECT = mqttPacket.generate({ cmd: 'connect', clientId: 'bench-rest', clean: true, keepalive: 0 });
const CONNACK = 0x20;

export function restCell(): Cell {
  return {
    key: 'rest',
    group: 'At rest',
    title: 'nobody there',
    figures: [
      { key: 'start', title: 'start to first CONNACK', better: 'less', show: showLatency, aims: [{ atMost: 200 }] },
      { key: 'memory', title: 'memory', better: 'less', show: showMegabytes, aims: [{ atMost: 60e6 }] },
      { key: 'cpu', title: `CPU over ${REST_S} s`, better: 'less', show: showShare, aims: [] },
    ],
    roundsMax: 1,
    limitS: 60,
    async measure(stand) {
      const starts: number[] = [];
      for (let start = 1; ; start++) {
        const startedMs = performance.now();
        const broker = await stand.start();
        const { pid } = broker;
        const place = broker.places.tcp;
        if (place === undefined || pid === null || broker.isForeign) throw new Failure('was started by somebody else');
        await accepted(place);
        starts.push(performance.now() - startedMs);
        if (start < STARTS) {
          await broker.stop();
          continue;
        }
        await sleep(SETTLE_S * 1_000, null, { signal: stand.giveUp });
        const before = processCost(pid);
        await sleep(REST_S * 1_000, null, { signal: stand.giveUp });
        const after = processCost(pid);
        if (before === null || after === null) throw new Failure(broker.ended() ?? 'what it costs is not known');
        const figures = { start: median(starts), memory: after.residentBytes, cpu: cpuBetween(before, after) / REST_S };
        return { figures, cpuPerMillionS: null, residentBytes: after.residentBytes, wrongs: {}, bound: null };
      }
    },
  };
}

function accepted({ host, port }: Place): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, noDelay: true });
    socket.once('connect', () => socket.write(CONNECT));
    socket.once('error', reject);
    socket.once('close', () => reject(new Failure('refuses a client that comes right after its start')));
    socket.once('data', (answer) => {
      if (answer[0] === CONNACK) resolve();
      socket.destroy();
    });
  });
}
