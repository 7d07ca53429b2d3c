// A real Chromium without a window, driven over its DevTools protocol: tabs, what they show, what they ask the network for, and what they look like.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { WebSocket } from 'ws';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome'];
const START_MS_MAX = 30_000;
const WAIT_MS_MAX = 20_000;

/** The program, null where there is none. */
export const chromium = NAMES.find((name) => spawnSync(name, ['--version']).status === 0) ?? null;

interface Message {
  readonly id?: number;
  readonly sessionId?: string;
  readonly method?: string;
  readonly params?: Record<string, never>;
  readonly result?: Record<string, never>;
  readonly error?: { readonly message: string };
}

type Call = <Result>(method: string, params?: object) => Promise<Result>;

/** One page. */
export class Tab {
  /** Addresses that the page has asked for, and what it has complained of. */
  readonly requests: string[] = [];
  readonly complaints: string[] = [];
  readonly #targetId: string;
  readonly #call: Call;

  constructor(targetId: string, call: Call) {
    this.#targetId = targetId;
    this.#call = call;
  }

  async open(url: string, width = 1_000, height = 700): Promise<void> {
    const mobile = width < 600;
    await this.#call('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: 1, mobile });
    await this.#call('Page.navigate', { url });
    await this.until('document.readyState === "complete"');
  }

  /** The value of an expression in the page, as JSON. */
  async value<T>(expression: string): Promise<T> {
    const { result, exceptionDetails } = await this.#call<{
      result: { value: T };
      exceptionDetails?: { text: string; exception?: { description?: string; value?: unknown } };
    }>('Runtime.evaluate', { expression, returnByValue: true, awaitPromise: true });
    if (exceptionDetails === undefined) return result.value;
    const { text, exception } = exceptionDetails;
    throw new Error(`${expression}: ${text} ${exception?.description ?? JSON.stringify(exception?.value)}`);
  }

  /** Waits until an expression is true in the page, which looks at it with each frame. */
  async until(expression: string): Promise<void> {
    const look = `new Promise((resolve) => {
      const end = performance.now() + ${WAIT_MS_MAX};
      const look = () => { if (${expression}) resolve(true); else if (performance.now() > end) resolve(false); else setTimeout(look, 20); };
      look();
    })`;
    // A page that is loaded anew meanwhile is looked at again.
    const holds = await this.value<boolean>(look).catch((error: Error) => {
      if (/navigated|context/.test(error.message)) return this.value<boolean>(look);
      throw error;
    });
    if (!holds)
      throw new Error(`waited in vain until ${expression}; the page shows: ${await this.value('document.body.innerText')}`);
  }

  /** A PNG of the whole page. */
  async picture(): Promise<Buffer> {
    await this.#call('Page.bringToFront');
    const { data } = await this.#call<{ data: string }>('Page.captureScreenshot', { captureBeyondViewport: true });
    return Buffer.from(data, 'base64');
  }

  async dark(isDark: boolean): Promise<void> {
    const features = [{ name: 'prefers-color-scheme', value: isDark ? 'dark' : 'light' }];
    await this.#call('Emulation.setEmulatedMedia', { features });
  }

  /** As a person closes a tab. */
  async close(): Promise<void> {
    await this.#call('Target.closeTarget', { targetId: this.#targetId });
  }

  /** What the browser tells of this tab. */
  hear({ method, params }: Message): void {
    if (method === 'Network.requestWillBeSent') {
      this.requests.push((params as unknown as { request: { url: string } }).request.url);
    } else if (method === 'Runtime.exceptionThrown' || method === 'Runtime.consoleAPICalled') {
      this.complaints.push(JSON.stringify(params));
    } else if (method === 'Log.entryAdded') {
      const { text, url } = (params as unknown as { entry: { text: string; url?: string } }).entry;
      this.complaints.push(`${text} ${url ?? ''}`);
    }
  }
}

export interface BrowserOptions {
  /** Home directory, where Chromium looks for authorities that the user trusts. */
  readonly home?: string;
}

export class Browser {
  readonly #process: ChildProcess;
  readonly #folder: string;
  readonly #socket: WebSocket;
  readonly #waiting = new Map<number, (message: Message) => void>();
  readonly #tabs = new Map<string, Tab>();
  #numbers = 0;

  /** Starts it with a profile of its own. */
  static async start(program: string, options: BrowserOptions = {}): Promise<Browser> {
    const folder = mkdtempSync(join(tmpdir(), 'lethe-chromium-'));
    const root = process.getuid?.() === 0 ? ['--no-sandbox'] : [];
    const flags = [
      '--headless=new',
      '--remote-debugging-port=0',
      `--user-data-dir=${folder}`,
      '--disable-gpu',
      '--disable-dev-shm-usage',
      '--disable-background-networking',
      '--disable-component-update',
      '--no-first-run',
      // A tab that another one is in front of is as quick as that.
      '--disable-background-timer-throttling',
      '--disable-renderer-backgrounding',
      '--disable-backgrounding-occluded-windows',
    ];
    const child = spawn(program, [...flags, ...root, 'about:blank'], {
      stdio: ['ignore', 'ignore', 'pipe'],
      detached: true,
      env: options.home === undefined ? process.env : { ...process.env, HOME: options.home },
    });
    const end = () => endGroup(child);
    process.once('exit', end);
    child.once('exit', () => process.off('exit', end));
    const address = await new Promise<string>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error('Chromium did not start')), START_MS_MAX);
      createInterface(child.stderr!).on('line', (line) => {
        const found = /DevTools listening on (ws:\S+)/.exec(line);
        if (found === null) return;
        clearTimeout(timer);
        resolve(found[1]!);
      });
      child.once('exit', (code) => reject(new Error(`Chromium ended with ${code}`)));
    });
    const socket = new WebSocket(address, { perMessageDeflate: false });
    await once(socket, 'open');
    return new Browser(child, folder, socket);
  }

  private constructor(child: ChildProcess, folder: string, socket: WebSocket) {
    this.#process = child;
    this.#folder = folder;
    this.#socket = socket;
    socket.on('message', (data) => this.#hear(JSON.parse(String(data)) as Message));
  }

  /** A new empty tab: one of the profile's, or as a browser of its own with cookies and connections of its own. */
  async tab(kind: 'shared' | 'apart' = 'shared'): Promise<Tab> {
    const context = kind === 'apart' ? await this.#call<{ browserContextId: string }>('', 'Target.createBrowserContext') : {};
    const { targetId } = await this.#call<{ targetId: string }>('', 'Target.createTarget', { url: 'about:blank', ...context });
    const { sessionId } = await this.#call<{ sessionId: string }>('', 'Target.attachToTarget', { targetId, flatten: true });
    const tab = new Tab(targetId, (method, params) => this.#call(sessionId, method, params));
    this.#tabs.set(sessionId, tab);
    for (const domain of ['Page', 'Runtime', 'Network', 'Log']) await this.#call(sessionId, `${domain}.enable`);
    return tab;
  }

  async close(): Promise<void> {
    const ended = once(this.#process, 'exit');
    this.#socket.close();
    // With its helpers, which would write for a moment longer: it was started as a group of its own.
    endGroup(this.#process);
    await ended;
    rmSync(this.#folder, { recursive: true, force: true, maxRetries: 50, retryDelay: 100 });
  }

  /** @param sessionId of a tab; '' for the browser itself */
  #call<Result>(sessionId: string, method: string, params: object = {}): Promise<Result> {
    const id = ++this.#numbers;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, ({ result, error }) => {
        if (error === undefined) resolve((result ?? {}) as Result);
        else reject(new Error(`${method}: ${error.message}`));
      });
      this.#socket.send(JSON.stringify({ id, method, params, ...(sessionId === '' ? {} : { sessionId }) }));
    });
  }

  #hear(message: Message): void {
    if (message.id === undefined) this.#tabs.get(message.sessionId ?? '')?.hear(message);
    else {
      this.#waiting.get(message.id)?.(message);
      this.#waiting.delete(message.id);
    }
  }
}

function endGroup({ pid }: ChildProcess): void {
  process.kill(-pid!, 'SIGKILL');
}
