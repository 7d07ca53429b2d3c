// The 21 classes in which MQTT brokers have been broken, one file of this folder each. A file attacks a running broker in the shortest way that decides, and says in one line which fault
// would make it fail; the deep tests of the same class are named there. `seenIn` holds public reports of the class in other brokers, where there is one that is certain.
export interface Vulnerability {
  /** Name of the file without `.test.ts`. */
  readonly file: string;
  readonly what: string;
  readonly seenIn: readonly string[];
}

export const VULNERABILITIES: readonly Vulnerability[] = [
  {
    file: '01-memory-before-login',
    what: 'what a stranger can make the broker hold before it has said who it is',
    seenIn: ['CVE-2017-7651', 'CVE-2017-7654', 'CVE-2023-0809'],
  },
  { file: '02-lying-lengths', what: 'packets that are cut short, and lengths that lie', seenIn: ['CVE-2021-34432'] },
  { file: '03-topic-depth', what: 'topics and filters of very many levels', seenIn: ['CVE-2019-11779'] },
  { file: '04-wildcard-blow-up', what: 'filters whose matching takes exponential time', seenIn: [] },
  { file: '05-property-floods', what: 'properties without number', seenIn: ['CVE-2021-41039'] },
  {
    file: '06-wills',
    what: 'wills that are malformed, outlive their session, or have lost their right',
    seenIn: ['CVE-2019-11778', 'CVE-2023-3592'],
  },
  {
    file: '07-names-in-patterns',
    what: 'client identifiers and user names with wildcards in ACL patterns, and topics with $',
    seenIn: ['CVE-2017-7650', 'CVE-2018-12543'],
  },
  {
    file: '08-rights-rechecked',
    what: 'rights not looked at again for what is retained, queued or sent again',
    seenIn: ['CVE-2018-12546', 'CVE-2021-34434'],
  },
  { file: '09-packet-identifiers', what: 'abuse of packet identifiers and of the state of QoS 2', seenIn: ['CVE-2023-28366'] },
  { file: '10-take-over', what: 'sessions taken over by another user', seenIn: [] },
  { file: '11-server-packets', what: 'packets of servers that come from clients', seenIn: ['CVE-2021-28166'] },
  {
    file: '12-fail-open',
    what: 'configuration that fails open, and what happens when descriptors run out',
    seenIn: ['CVE-2017-7652', 'CVE-2018-12550', 'CVE-2018-12551'],
  },
  { file: '13-file-modes', what: 'files that others can read', seenIn: [] },
  { file: '14-slow-peers', what: 'slow handshakes, slow readers and upgrades that come drop by drop', seenIn: [] },
  { file: '15-bombs-and-origins', what: 'compression bombs, and pages of other origins', seenIn: [] },
  { file: '16-shared-memory', what: 'data races in the memory that shards share', seenIn: [] },
  { file: '17-numbers', what: 'arithmetic of numeric settings at 0 and at their maximum', seenIn: [] },
  { file: '18-outliving-data', what: 'data that outlives its session', seenIn: [] },
  { file: '19-proxy-headers', what: 'PROXY headers that are forged or endless', seenIn: [] },
  { file: '20-timing', what: 'secrets that can be told by the time of a comparison', seenIn: [] },
  { file: '21-corrupt-store', what: 'a store that is corrupt when the broker starts', seenIn: [] },
];
