// What the pages name is there: options of the configuration, files of the repository, other pages and their sections.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { optionHelp } from '../../engine/config/schema.ts';

const root = new URL('../..', import.meta.url).pathname;
const pages = ['README.md', ...readdirSync(join(root, 'docs')).flatMap((name) => (name.endsWith('.md') ? [`docs/${name}`] : []))];
const sections = new Set(Object.keys(optionHelp).map((path) => path.split('.')[0]!));

/** Files of the data directory look like options. */
const FILES = /\.(mdb|keys|time|figures|key|log)$/;

describe.each(pages)('%s', (page) => {
  const text = readFileSync(join(root, page), 'utf8');

  test('names options that exist', () => {
    const named = [...text.matchAll(/`([a-z]+)\.([a-z0-9_]+)(?: = [^`]*)?`/g)].filter(([, section]) => sections.has(section!));
    const paths = named.map(([, section, key]) => `${section}.${key}`).filter((path) => !FILES.test(path));
    expect(paths.filter((path) => !(path in optionHelp))).toEqual([]);
  });

  test('links to files that exist', () => {
    const links = [...text.matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)]
      .map(([, target]) => target!)
      .filter((target) => !/^[a-z]+:/.test(target));
    expect(links.filter((target) => !existsSync(join(root, dirname(page), target)))).toEqual([]);
  });
});

test('the Dockerfile copies what is there', () => {
  const copies = readFileSync(join(root, 'docs/deploy/Dockerfile'), 'utf8').match(/^COPY (?!--from).*$/gm)!;
  const sources = copies.flatMap((line) => line.split(' ').slice(1, -1));
  expect(sources.length).toBeGreaterThan(5);
  expect(sources.filter((name) => !existsSync(join(root, name)))).toEqual([]);
});
