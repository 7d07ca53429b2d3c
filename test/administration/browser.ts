// A real Chromium without a window, driven over its DevTools protocol: one page, its console, what it asks the network for, and what it looks like.
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
  readonly method?: string;
  readonly params?: Record<string, never>;
  readonly result?: Record<string, never>;
  readonly error?: { readonly message: string };
}

export class Browser {
  /** Addresses that the page has asked for, and what it has complained of. */
  readonly requests: string[] = [];
  readonly complaints: string[] = [];
  readonly #process: ChildProcess;
  readonly #folder: string;
  readonly #socket: WebSocket;
  readonly #waiting = new Map<number, (message: Message) => void>();
  #numbers = 0;
  #session = '';

  /** Starts it with an empty page and a profile of its own. */
  static async start(program: string): Promise<Browser> {
    const folder = mkdtempSync(join(tmpdir(), 'lethe-chromium-'));
    const root = process.getuid?.() === 0 ? ['--no-sandbox'] : [];
    const flags = [
      '--headless=new',
      '--remote-debugging-port=0',
      `--user-data-dir=${folder}`,
      '--disable-gpu',
      '--disable-dev-shm-usage',
    ];
    const quiet = [
      '--disable-background-networking',
      '--disable-component-update',
      '--no-first-run',
      '--ignore-certificate-errors',
    ];
    const child = spawn(program, [...flags, ...quiet, ...root, 'about:blank'], {
      stdio: ['ignore', 'ignore', 'pipe'],
      detached: true,
    });
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
    const browser = new Browser(child, folder, socket);
    await browser.#attach();
    return browser;
  }

  private constructor(child: ChildProcess, folder: string, socket: WebSocket) {
    this.#process = child;
    this.#folder = folder;
    this.#socket = socket;
    socket.on('message', (data) => this.#hear(JSON.parse(String(data)) as Message));
  }

  async open(url: string, width: number, height: number): Promise<void> {
    const mobile = width < 600;
    await this.#call('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: 1, mobile });
    await this.#call('Page.navigate', { url });
    await this.until('document.readyState === "complete"');
  }

  /** The value of an expression in the page, as JSON. */
  async value<T>(expression: string): Promise<T> {
    const { result, exceptionDetails } = (await this.#call('Runtime.evaluate', {
      expression,
      returnByValue: true,
      awaitPromise: true,
    })) as unknown as { result: { value: T }; exceptionDetails?: { text: string } };
    if (exceptionDetails !== undefined) throw new Error(`${expression}: ${exceptionDetails.text}`);
    return result.value;
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
    const { data } = (await this.#call('Page.captureScreenshot', { captureBeyondViewport: true })) as unknown as { data: string };
    return Buffer.from(data, 'base64');
  }

  async dark(isDark: boolean): Promise<void> {
    const features = [{ name: 'prefers-color-scheme', value: isDark ? 'dark' : 'light' }];
    await this.#call('Emulation.setEmulatedMedia', { features });
  }

  async close(): Promise<void> {
    const ended = once(this.#process, 'exit');
    this.#socket.close();
    // With its helpers, which would write for a moment longer: it was started as a group of its own.
    process.kill(-this.#process.pid!, 'SIGKILL');
    await ended;
    rmSync(this.#folder, { recursive: true, force: true, maxRetries: 50, retryDelay: 100 });
  }

  async #attach(): Promise<void> {
    const { targetInfos } = (await this.#call('Target.getTargets')) as unknown as {
      targetInfos: { type: string; targetId: string }[];
    };
    const { targetId } = targetInfos.find(({ type }) => type === 'page')!;
    const { sessionId } = (await this.#call('Target.attachToTarget', { targetId, flatten: true })) as unknown as {
      sessionId: string;
    };
    this.#session = sessionId;
    for (const domain of ['Page', 'Runtime', 'Network', 'Log']) await this.#call(`${domain}.enable`);
  }

  #call(method: string, params: object = {}): Promise<Record<string, never>> {
    const id = ++this.#numbers;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, ({ result, error }) => {
        if (error === undefined) resolve(result ?? {});
        else reject(new Error(`${method}: ${error.message}`));
      });
      this.#socket.send(JSON.stringify({ id, method, params, ...(this.#session === '' ? {} : { sessionId: this.#session }) }));
    });
  }

  #hear(message: Message): void {
    if (message.id !== undefined) {
      this.#waiting.get(message.id)?.(message);
      this.#waiting.delete(message.id);
    } else if (message.method === 'Network.requestWillBeSent') {
      this.requests.push((message.params as unknown as { request: { url: string } }).request.url);
    } else if (message.method === 'Runtime.exceptionThrown' || message.method === 'Runtime.consoleAPICalled') {
      this.complaints.push(JSON.stringify(message.params));
    } else if (message.method === 'Log.entryAdded') {
      const { text, url } = (message.params as unknown as { entry: { text: string; url?: string } }).entry;
      this.complaints.push(`${text} ${url ?? ''}`);
    }
  }
}
