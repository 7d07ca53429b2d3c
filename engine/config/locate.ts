// Where in a TOML file a key stands: the parser keeps no positions. Reads headers and `key =` lines and nothing else, which is
// enough to name the line of a mistake.

const HEADER = /^\s*(\[\[?)\s*([^\]]+?)\s*\]\]?\s*(#.*)?$/;
const KEY = /^\s*([A-Za-z0-9_."'-]+)\s*=/;

/** Line (from 1) of each key path, written with dots and with the number of an array's table: `listener.0.port`. */
export function locateKeys(source: string): Map<string, number> {
  const lines = new Map<string, number>();
  const tables = new Map<string, number>();
  let prefix = '';
  let fence = '';
  source.split('\n').forEach((line, index) => {
    if (fence !== '') {
      if (line.includes(fence)) fence = '';
      return;
    }
    const header = HEADER.exec(line);
    if (header !== null) {
      const name = plain(header[2]!);
      if (header[1] === '[[') {
        const number = tables.get(name) ?? 0;
        tables.set(name, number + 1);
        if (number === 0) lines.set(name, index + 1);
        prefix = `${name}.${number}.`;
      } else {
        prefix = `${name}.`;
      }
      lines.set(prefix.slice(0, -1), index + 1);
      return;
    }
    const key = KEY.exec(line);
    if (key === null) return;
    lines.set(prefix + plain(key[1]!), index + 1);
    for (const mark of ['"""', "'''"]) if (line.split(mark).length === 2) fence = mark;
  });
  return lines;
}

function plain(name: string): string {
  return name.replace(/["'\s]/g, '');
}
