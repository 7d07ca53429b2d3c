// Joins the numbered statements of the two standards with their evidence: tags in source lines (where the broker decides) and in test
// titles (where that is shown). Owns the form of docs/CONFORMANCE.md and the rules that the evidence must satisfy.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Statement, tagOf, type Version } from './statement.ts';

/** One place that carries a tag: a source line, or a test with its title (tags removed). */
export interface Evidence {
  readonly tag: string;
  /** Path from the project root. */
  readonly file: string;
  readonly line: number;
  /** Empty for a source line. */
  readonly title: string;
}

export interface Report {
  readonly markdown: string;
  /** Tags that name no statement, each with its place. */
  readonly unknown: readonly string[];
  /** Statements that bind the server and have neither a test nor a reason. */
  readonly missing: readonly Statement[];
}

const TAG = /\[(MQTT3?-\d+\.\d+\.\d+-\d+)\]/g;
/** A string literal on one line that holds a tag. */
const TAGGED_TITLE = /(['"`])((?:\\.|(?!\1).)*\[MQTT3?-\d(?:\\.|(?!\1).)*)\1/g;

function filesBelow(root: string, folder: string, ending: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith(ending))
    .map((name) => `${folder}/${name.replaceAll('\\', '/')}`)
    .sort();
}

function scan(root: string, file: string, evidenceOf: (text: string, line: number) => Evidence[]): Evidence[] {
  const lines = readFileSync(join(root, file), 'utf8').split('\n');
  return lines.flatMap((text, index) => evidenceOf(text, index + 1));
}

/** Every tag in the sources below `folders`. */
export function sourceEvidence(root: string, folders: readonly string[]): Evidence[] {
  return folders
    .flatMap((folder) => filesBelow(root, folder, '.ts'))
    .flatMap((file) =>
      scan(root, file, (text, line) => [...text.matchAll(TAG)].map((match) => ({ tag: match[1]!, file, line, title: '' }))),
    );
}

/** Every tag in a test title below `folder`. */
export function testEvidence(root: string, folder: string): Evidence[] {
  return filesBelow(root, folder, '.test.ts').flatMap((file) =>
    scan(root, file, (text, line) =>
      [...text.matchAll(TAGGED_TITLE)].flatMap((literal) => {
        const title = literal[2]!.replace(TAG, '').replace(/\s+/g, ' ').trim();
        return [...literal[2]!.matchAll(TAG)].map((match) => ({ tag: match[1]!, file, line, title }));
      }),
    ),
  );
}

/** Joins statements with evidence. */
export function report(statements: readonly Statement[], sources: readonly Evidence[], tests: readonly Evidence[]): Report {
  const known = new Set(statements.map(tagOf));
  const unknown = [...sources, ...tests]
    .filter(({ tag }) => !known.has(tag))
    .map(({ tag, file, line }) => `${tag} at ${file}:${line}`);
  const deciding = groupBy(sources, ({ tag }) => tag);
  const showing = groupBy(tests, ({ tag }) => tag);
  const missing = statements.filter((statement) => standing(statement, showing) === 'missing');
  const sections = groupBy(statements, (statement) => `${statement.version} ${sectionOf(statement)}`);
  const tables = [...sections.values()].flatMap((section) => table(section, deciding, showing));
  return { markdown: [...head(statements, showing), ...tables].join('\n'), unknown, missing };
}

function groupBy<Item>(items: readonly Item[], keyOf: (item: Item) => string): Map<string, Item[]> {
  const groups = new Map<string, Item[]>();
  for (const item of items) groups.set(keyOf(item), [...(groups.get(keyOf(item)) ?? []), item]);
  return groups;
}

type Standing = 'tested' | 'with reason' | 'missing' | 'binds the client only';

function standing(statement: Statement, showing: ReadonlyMap<string, unknown>): Standing {
  if (showing.has(tagOf(statement))) return 'tested';
  if (statement.untestable !== undefined) return 'with reason';
  return statement.binds === 'client' ? 'binds the client only' : 'missing';
}

/** `3.1` for MQTT-3.1.2-7. */
function sectionOf(statement: Statement): string {
  return statement.id.split(/[-.]/, 3).slice(1).join('.');
}

function head(statements: readonly Statement[], showing: ReadonlyMap<string, unknown>): string[] {
  const counts = (['5.0', '3.1.1'] as const satisfies readonly Version[]).map((version) => {
    const all = statements.filter((statement) => statement.version === version);
    const binding = all.filter(({ binds }) => binds !== 'client');
    const count = (among: readonly Statement[], wanted: Standing) =>
      among.filter((statement) => standing(statement, showing) === wanted).length;
    const cells = [
      all.length,
      binding.length,
      count(binding, 'tested'),
      count(binding, 'with reason'),
      count(binding, 'missing'),
    ];
    const clientsTested = count(all, 'tested') - count(binding, 'tested');
    return `| ${[version, ...cells, clientsTested].join(' | ')} |`;
  });
  return [
    '# Conformance',
    '',
    'Written by `npm run docs` from `test/conformance/statements-*.ts` and the tags in sources and test titles; do not edit.',
    'The numbers are those of Appendix B of each standard, the words are ours. `[MQTT-3.1.0-1]` is a statement of MQTT 5.0,',
    '`[MQTT3-3.1.0-1]` one of MQTT 3.1.1. A statement that binds the client only is listed for completeness; where it has a test,',
    'that test shows how the broker answers a client that breaks it.',
    '',
    '| MQTT | statements | binding the server | of these tested | with a reason | missing | client-only with a test |',
    '| --- | --- | --- | --- | --- | --- | --- |',
    ...counts,
    '',
  ];
}

function table(
  section: readonly Statement[],
  deciding: ReadonlyMap<string, readonly Evidence[]>,
  showing: ReadonlyMap<string, readonly Evidence[]>,
): string[] {
  const rows = section.map((statement) => {
    const tag = tagOf(statement);
    const decided = (deciding.get(tag) ?? []).map((place) => link(place)).join('<br>');
    const shown = (showing.get(tag) ?? []).map((place) => `${link(place)} ${cell(place.title)}`).join('<br>');
    const fallback = statement.untestable === undefined ? standing(statement, showing) : `no test: ${statement.untestable}`;
    return `| ${statement.id} | ${cell(statement.about)} | ${statement.binds} | ${decided} | ${shown || cell(fallback)} |`;
  });
  const title = `## MQTT ${section[0]!.version}, section ${sectionOf(section[0]!)}`;
  return [title, '', '| number | about | binds | decided at | shown by |', '| --- | --- | --- | --- | --- |', ...rows, ''];
}

/** Names the file only: a line number would change with every edit above it. */
function link({ file }: Evidence): string {
  return `[${file}](../${file})`;
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('<', '&lt;');
}
