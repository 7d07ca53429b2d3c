// The store in memory, and the double that lags behind, keep the contract of every store.
import { MemoryStore } from '../../storage/memory.ts';
import { describeStore } from './contract.ts';
import { LaggingStore } from './lagging-store.ts';
import type { Opened } from './opened-store.ts';

function memory(store = new MemoryStore()): Opened {
  return { store, restart: async () => memory(store), dispose: () => store.close() };
}

/** Commits and answers a piece at a time, when it is asked to work. */
function lagging(store = new LaggingStore({ readsLater: true })): Opened {
  return {
    store,
    work() {
      store.commit(1);
      store.answerReads();
    },
    restart: async () => lagging(store.crash()),
    dispose: () => store.close(),
  };
}

describeStore('MemoryStore', async () => memory(), { histories: 50 });

describeStore('LaggingStore, which tests have for a disk', async () => lagging(), { histories: 50 });
