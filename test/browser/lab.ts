// What the browser tests share: one Chromium and one page for a file, the page's clients as calls, and a picture of what it shows at the end.
// `LETHE_SCREENSHOTS=DIR` keeps the picture.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll } from 'vitest';
import { Browser, type BrowserOptions, chromium, type Tab } from './chromium.ts';
import { openSite, type Site } from './site.ts';

export type Kind = 'MQTT.js' | 'Paho';

export interface Seen {
  readonly topic: string;
  readonly bytes: number;
  /** '' for a long one. */
  readonly text: string;
  readonly qos: number;
  readonly retained: boolean;
  readonly duplicate: boolean;
  /** A long one is the pattern that was sent. */
  readonly intact: boolean;
}

/** What a client in the page has seen. */
export interface Record {
  /** Session Present of each CONNACK; null for Paho, which does not tell. */
  readonly connects: readonly (boolean | null)[];
  readonly messages: readonly Seen[];
  readonly errors: readonly string[];
  readonly closes: number;
  /** Pings that were answered; MQTT.js only. */
  readonly pings: number;
}

/** What a bare WebSocket in the page has seen. */
export interface SocketRecord {
  readonly opened: boolean;
  readonly protocol: string;
  readonly errors: number;
  /** Bytes received. */
  readonly bytes: number;
  readonly close: { readonly code: number; readonly reason: string; readonly wasClean: boolean } | null;
}

export interface Open {
  readonly url: string;
  readonly level?: 3 | 4 | 5;
  readonly clientId?: string;
  readonly clean?: boolean;
  readonly keepalive?: number;
  readonly will?: { readonly topic: string; readonly payload: string; readonly qos: number; readonly retain: boolean };
  readonly reconnect?: boolean;
  readonly expiryS?: number;
}

/** A tab with the lab's page in it. */
export class Lab {
  readonly tab: Tab;

  constructor(tab: Tab) {
    this.tab = tab;
  }

  /** A call of the page's `lab`. */
  call<Result = void>(verb: string, ...values: readonly unknown[]): Promise<Result> {
    return this.tab.value<Result>(`lab.${verb}(${values.map((value) => JSON.stringify(value) ?? 'undefined').join(', ')})`);
  }

  /** Starts a client and waits until the broker has let it in. */
  async connect(kind: Kind, name: string, open: Open): Promise<void> {
    await this.call('open', kind, name, open);
    await this.until(name, 'client.connects.length === 1 || client.errors.length > 0');
    const { connects, errors } = await this.of(name);
    if (connects.length !== 1) throw new Error(`${kind} was not let in: ${errors.join(', ')}`);
  }

  of(name: string): Promise<Record> {
    return this.call<Record>('of', name);
  }

  /** @param condition on `client` */
  async until(name: string, condition: string): Promise<Record> {
    await this.tab.until(`((client) => ${condition})(lab.of(${JSON.stringify(name)}))`);
    return this.of(name);
  }

  /** A bare WebSocket, once it is open or closed. */
  async socket(name: string, url: string, subprotocols?: readonly string[]): Promise<SocketRecord> {
    await this.call('socket', name, url, subprotocols ?? []);
    await this.tab.until(`lab.socketOf(${JSON.stringify(name)}).opened || lab.socketOf(${JSON.stringify(name)}).close !== null`);
    return this.call('socketOf', name);
  }

  async closed(name: string): Promise<SocketRecord> {
    await this.tab.until(`lab.socketOf(${JSON.stringify(name)}).close !== null`);
    return this.call('socketOf', name);
  }
}

export interface LabRig {
  readonly lab: Lab;
  readonly browser: Browser;
  readonly site: Site;
  /** Another tab with the page. */
  open(kind?: 'shared' | 'apart'): Promise<Lab>;
  /** Goes into the table behind the name of the test that runs. */
  saw(what: string): void;
}

if (chromium === null) process.stdout.write('browsers are not tested: there is no Chromium here (apt-get install chromium)\n');

export const hasBrowser = chromium !== null;

/** Call once in a file. */
export function useLab(picture: string, options: () => BrowserOptions = () => ({})): LabRig {
  let browser: Browser | null = null;
  let site: Site | null = null;
  let lab: Lab | null = null;
  let seen: string[] = [];
  const there = <Value>(value: Value | null): Value => {
    if (value === null) throw new Error('the browser runs only inside tests');
    return value;
  };
  const rig: LabRig = {
    get lab() {
      return there(lab);
    },
    get browser() {
      return there(browser);
    },
    get site() {
      return there(site);
    },
    async open(kind = 'shared') {
      const opened = new Lab(await there(browser).tab(kind));
      await opened.tab.open(`${rig.site.origin}/`);
      return opened;
    },
    saw: (what) => void seen.push(what),
  };
  const program = chromium;
  if (program === null) return rig;

  beforeAll(async () => {
    site = await openSite();
    browser = await Browser.start(program, options());
    lab = await rig.open();
  });
  afterEach(async ({ task }) => {
    const failed = task.result?.errors !== undefined && task.result.errors.length > 0;
    await lab!.call('show', `${task.suite?.name}: ${task.name}`, failed ? 'fail' : 'pass', seen.join('; '));
    seen = [];
  });
  afterAll(async () => {
    const { LETHE_SCREENSHOTS } = process.env;
    try {
      if (LETHE_SCREENSHOTS !== undefined && lab !== null)
        writeFileSync(join(LETHE_SCREENSHOTS, `browser-${picture}.png`), await lab.tab.picture());
    } finally {
      await browser?.close();
    }
    site?.close();
  });
  return rig;
}
