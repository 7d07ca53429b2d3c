// `spool.max_retention_s` is a ceiling for sessions too.
import { expect, test } from 'vitest';
import { loadConfig } from '../../engine/config/load.ts';

test('a session is not kept longer than the retention', () => {
  expect(loadConfig({ set: ['spool.max_retention_s=60'] }).limits.sessionExpiryMaxS).toBe(60);
  expect(loadConfig({ set: ['spool.max_retention_s=60', 'limits.session_expiry_max_s=30'] }).limits.sessionExpiryMaxS).toBe(30);
  expect(
    loadConfig({ set: ['spool.max_retention_s=1h', 'limits.session_expiry_max_s=4294967295'] }).limits.sessionExpiryMaxS,
  ).toBe(3_600);
});
