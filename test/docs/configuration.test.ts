// Keeps docs/CONFIGURATION.md true: every option with its default and its line of help. `LETHE_WRITE=1` writes it.
import { readFileSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { loadConfig } from '../../engine/config/load.ts';
import { printConfig } from '../../engine/config/print.ts';
import { optionHelp } from '../../engine/config/schema.ts';

const path = new URL('../../docs/CONFIGURATION.md', import.meta.url);

function page(): string {
  const rows: string[] = [];
  let section = '';
  let help = '';
  for (const line of printConfig(loadConfig()).split('\n')) {
    const header = /^(?:# )?\[\[?([a-z]+)\]\]?$/.exec(line);
    const option = /^(?:# )?([a-z0-9_]+) = (.*)$/.exec(line);
    if (header !== null) {
      // The second listener has the same options.
      if (section === 'listener') break;
      section = header[1]!;
      rows.push(
        '',
        `## ${line.includes('[[') ? `[[${section}]], one table for each` : `[${section}]`}`,
        '',
        '| option | default | |',
        '|---|---|---|',
      );
    } else if (option !== null) rows.push(`| \`${section}.${option[1]}\` | \`${option[2]}\` | ${help} |`);
    else if (line.startsWith('# ')) help = line.slice(2).replaceAll('|', '\\|');
  }
  return `# Configuration

Written by \`npm run docs\` from engine/config; do not edit. \`lethe print-config\` prints the same as a file.

One TOML file, then environment variables (\`LETHE_SECTION__KEY\`, a listener's as \`LETHE_LISTENER__NAME__KEY\`), then flags (\`--set section.key=value\`,
\`--set listener.NAME.key=value\`); the last one wins. Sizes and times may have units: \`16MiB\`, \`10s\`, \`31d\`. Without a listener there are two: \`tcp\` on
127.0.0.1:1883 and \`ws\` on 127.0.0.1:8083; the table shows the first.
${rows.join('\n')}
`;
}

test('docs/CONFIGURATION.md is what the schema says (npm run docs writes it)', () => {
  const { LETHE_WRITE } = process.env;
  if (LETHE_WRITE === '1') writeFileSync(path, page());
  expect(readFileSync(path, 'utf8') === page(), 'the file differs: run npm run docs').toBe(true);
});

test('every option that has help stands in it', () => {
  const text = page();
  expect(Object.keys(optionHelp).filter((option) => !text.includes(`\`${option}\``))).toEqual([]);
});
