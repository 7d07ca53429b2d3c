// A thousand connections from the browser at once. Chromium gives a profile 255 WebSockets at a time, and slows a page down that has more than a few in the making; so the page is open in several profiles, and
// each connects in small batches.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type RunningBroker, startBroker } from '../broker.ts';
import { mqttJs } from '../end-to-end/mqttjs.ts';
import { hasBrowser, type Lab, useLab } from './lab.ts';

const PROFILE_MAX = 255;
const PROFILES = 4;
/** Chromium makes the one more wait by 5 ms to 2^n of that. */
const BATCH = 8;

describe.skipIf(!hasBrowser)('a crowd', () => {
  const rig = useLab('crowd');
  let broker: RunningBroker;
  beforeAll(async () => {
    broker = await startBroker();
  });
  afterAll(() => broker?.stop());

  test('1,020 connections from one page in four profiles: all are served at once, and all are gone with their tabs', async () => {
    const labs: Lab[] = [];
    for (let at = 0; at < PROFILES; at++) labs.push(await rig.open('apart'));
    const url = `ws://127.0.0.1:${broker.ws}/mqtt`;
    const joined = await Promise.all(labs.map((lab, at) => lab.call<number>('crowd', url, at * PROFILE_MAX, PROFILE_MAX, BATCH)));
    expect(joined).toEqual(labs.map(() => PROFILE_MAX));
    // What a shard knows of the others is a moment old.
    await expect.poll(() => broker.counts().connections).toBe(PROFILES * PROFILE_MAX);

    const teller = await mqttJs({ port: broker.tcp, level: 5 });
    await teller.publish('crowd', 'all of you', { qos: 1 });
    for (const lab of labs) await lab.tab.until(`lab.crowdHeard() === ${PROFILE_MAX}`);
    await teller.end();

    // One more than a profile has.
    expect((await labs[0]!.socket('one more', url, ['mqtt'])).opened).toBe(false);
    expect(labs[0]!.tab.complaints.join()).toContain('Insufficient resources');
    rig.saw(`${PROFILES * PROFILE_MAX} open at once`);

    for (const lab of labs) await lab.tab.close();
    await expect.poll(() => broker.counts().connections, { timeout: 20_000 }).toBe(0);
  });
});
