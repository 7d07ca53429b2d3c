// The spool on its thread keeps the contract of every store, over a data directory that is stopped and started again.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openSpool } from '../../engine/spool/open.ts';
import { describeStore } from './contract.ts';
import type { Opened } from './opened-store.ts';

async function spool(folder = mkdtempSync(join(tmpdir(), 'lethe-contract-'))): Promise<Opened> {
  const { store, unlock } = await openSpool({
    folder,
    masterKey: { file: '', env: '', command: [] },
    retentionMs: Infinity,
    eraseWithinMs: 1_000,
    diskFloorBytes: 0,
    commitWindowMs: 2,
    relaxed: false,
  });
  const close = async () => {
    await store.close();
    await unlock();
  };
  return {
    store,
    async restart() {
      await close();
      return spool(folder);
    },
    async dispose() {
      await close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

describeStore('SpoolStore', () => spool(), { histories: 10 });
