// The variables that topics and user names may hold, as in emqtt-bench: %i number of the client, %c its client id, %u its user name;
// and %t, the number of the topic among those of one publisher. Clients and topics count from the same number.

export interface PatternValues {
  readonly number: number;
  readonly clientId: string;
  readonly userName: string | null;
  /** A text stays what it is: a pattern is filled in in part. */
  readonly topic: number | string;
}

export function fillPattern(pattern: string, { number, clientId, userName, topic }: PatternValues): string {
  return pattern.replace(/%[icut]/g, (variable) => {
    if (variable === '%i') return String(number);
    if (variable === '%c') return clientId;
    return variable === '%u' ? (userName ?? '') : String(topic);
  });
}
