// The shape of one numbered normative statement, and the tag that names it in test titles and source lines.
// The two standards reuse each other's numbers with other meanings, so the version is part of the key:
// `[MQTT-3.1.0-1]` is MQTT 5.0, `[MQTT3-3.1.0-1]` is MQTT 3.1.1.

export type Version = '3.1.1' | '5.0';

/** Who the statement obliges. `both` also holds where a client's duty comes with a server's answer to its breach. */
export type Binds = 'server' | 'client' | 'both';

export interface Statement {
  /** Number as in Appendix B of the standard, for example `MQTT-3.1.0-1`. */
  readonly id: string;
  readonly version: Version;
  readonly binds: Binds;
  /** What it asks, in our words; the standard's text decides. */
  readonly about: string;
  /** Why no test against the running broker is possible. */
  readonly untestable?: string;
}

/** Number without its `MQTT-`, whom it binds, what it asks, and why there is no test where there can be none. */
export type Row = readonly [number: string, binds: Binds, about: string, untestable?: string];

export function statementsOf(version: Version, rows: readonly Row[]): Statement[] {
  return rows.map(([number, binds, about, untestable]) => {
    const statement = { id: `MQTT-${number}`, version, binds, about };
    return untestable === undefined ? statement : { ...statement, untestable };
  });
}

/** The tag of a statement, without its brackets. */
export function tagOf(statement: Statement): string {
  return statement.version === '5.0' ? statement.id : statement.id.replace('MQTT-', 'MQTT3-');
}
