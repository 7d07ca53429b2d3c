// The record of processing and the annex that describes its measures: the same measures in both, each with tests that exist; and the record names nobody.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { processingRecord, recordPage } from '../../engine/administration/report.ts';
import { loadConfig } from '../../engine/config/load.ts';
import { Canaries } from '../forgetting/canaries.ts';
import { temporaryFile } from '../security/temporary.ts';

const root = new URL('../..', import.meta.url).pathname;
const annex = readFileSync(join(root, 'docs/DPA-ANNEX.md'), 'utf8');
const at = Date.UTC(2026, 10, 30);

test('every measure of the record is described, and none besides', () => {
  const described = [...annex.matchAll(/^## (.*)$/gm)].map(([, heading]) => heading);
  expect(described).toEqual(processingRecord(loadConfig(), '1', at, null).measures.map(({ key }) => key));
});

test('every measure has tests that exist', () => {
  const sections = annex.split(/^## /m).slice(1);
  for (const section of sections) {
    const proofs = [...(/^Proved by: (.*)$/m.exec(section)?.[1] ?? '').matchAll(/`([^`]+)`/g)].map(([, path]) => path!);
    expect([section.split('\n')[0], proofs.length > 0]).toEqual([section.split('\n')[0], true]);
    expect(proofs.filter((path) => !existsSync(join(root, path)))).toEqual([]);
  }
});

describe('the record', () => {
  const strict = [
    'server.data_dir=/var/lib/lethe',
    `spool.key_file=${temporaryFile('ab'.repeat(32))}`,
    'retained.max_age_s=1h',
    'session.message_expiry_max_s=2d',
    `auth.acl_file=${temporaryFile('')}`,
    `auth.password_file=${temporaryFile('')}`,
  ];

  test('says what the configuration makes of each kind of data', () => {
    const { data, measures, attention } = processingRecord(loadConfig({ set: strict }), '1', at, null);
    expect(data.find(({ what }) => what.startsWith('messages at QoS 1'))?.kept).toMatch(/at most 2 days$/);
    expect(data.find(({ what }) => what === 'retained messages')?.kept).toMatch(/at most 3600 s; beyond recovery within 1000 ms/);
    expect(measures.filter(({ isInForce }) => !isInForce)).toEqual([]);
    expect(attention).toEqual([]);
  });

  test.each([
    [
      'listener.tcp.host=192.0.2.1|listener.tcp.insecure=true|listener.tcp.anonymous=true',
      /Listener tcp carries messages in clear/,
    ],
    ['server.data_dir=/var/lib/lethe', /give a master key/],
    ['spool.durability=relaxed', /before they are durable/],
    ['server.core_dumps=true', /Core dumps hold messages/],
    ['admin.port=0|admin.open=true', /may use the admin port/],
  ])('tells what is to be looked at: %s', (set, sentence) => {
    expect(processingRecord(loadConfig({ set: set.split('|') }), '1', at, null).attention.join('\n')).toMatch(sentence);
  });

  test('names no user, topic or path', () => {
    const canaries = new Canaries();
    const toml = `[server]\ndata_dir = "/var/${canaries.text('folder')}"\n[auth]\nhttp_url = "https://auth.example/${canaries.text('path')}"
[[role]]\nname = "reader"\nusers = ["${canaries.text('user')}"]\nsubscribe = ["${canaries.text('topic')}/#"]
[[retention]]\nusers = ["${canaries.text('other')}"]\nmessage_expiry_max_s = 60\n`;
    const record = processingRecord(loadConfig({ file: temporaryFile(toml) }), '1', at, null);
    expect(record.recipients).toHaveLength(2);
    expect(canaries.find(Buffer.from(JSON.stringify(record)))).toEqual([]);
    expect(canaries.find(Buffer.from(recordPage(record)))).toEqual([]);
  });
});
