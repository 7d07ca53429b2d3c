// The servers of the admin API when the system refuses a connection: it is told once, and the broker lives.
import { mkdtempSync, rmSync } from 'node:fs';
import { Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, expect, test, vi } from 'vitest';
import { openAdminPort } from '../../engine/administration/admin-port.ts';
import type { Administration } from '../../engine/administration/administration.ts';
import { loadConfig } from '../../engine/config/load.ts';
import { silentLog } from '../../engine/log.ts';
import { lockFolder } from '../../engine/spool/folder-lock.ts';

const folder = mkdtempSync(join(tmpdir(), 'lethe-http-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
afterEach(() => void vi.restoreAllMocks());

const errors: string[] = [];
const log = { ...silentLog, error: (message: string) => errors.push(message) };

async function openAdmin(more: { readonly port: number | null; readonly socket: string }): Promise<() => Promise<void>> {
  const administration = { config: { admin: { ...loadConfig().admin, open: true, ...more } }, log };
  const opened = await openAdminPort(administration as unknown as Administration);
  return () => opened!.close();
}

test.each<[string, () => Promise<() => Promise<void>>]>([
  ['the admin port', () => openAdmin({ port: 0, socket: '' })],
  ['the admin socket', () => openAdmin({ port: null, socket: join(folder, 'admin.sock') })],
  ['the socket of the data directory', async () => (await lockFolder(folder, log)).unlock],
])('%s', async (_, open) => {
  errors.length = 0;
  const listen = vi.spyOn(Server.prototype, 'listen');
  const close = await open();
  const server = listen.mock.contexts[0] as Server;
  for (let refused = 0; refused < 2; refused++) server.emit('error', Object.assign(new Error('accept'), { code: 'EMFILE' }));
  expect(errors).toEqual(['the admin API cannot take a connection']);
  await close();
});
