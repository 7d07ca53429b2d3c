// The web server of the pages, on an address that is another origin than the broker's.
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

const root = new URL('../..', import.meta.url).pathname;
const FILES: Readonly<Record<string, readonly [type: string, path: string]>> = {
  '/': ['text/html', 'test/browser/lab.html'],
  '/lab.js': ['text/javascript', 'test/browser/lab.js'],
  '/mqtt.js': ['text/javascript', 'node_modules/mqtt/dist/mqtt.min.js'],
  '/mqtt.esm.js': ['text/javascript', 'node_modules/mqtt/dist/mqtt.esm.js'],
  '/paho.js': ['text/javascript', 'node_modules/paho-mqtt/paho-mqtt-min.js'],
};

export interface Site {
  /** As a browser says it in Origin. */
  readonly origin: string;
  /** Pages besides the lab, by path. */
  readonly pages: Map<string, string>;
  close(): void;
}

export async function openSite(): Promise<Site> {
  const pages = new Map<string, string>();
  const server = createServer(({ url = '/' }, response) => {
    const page = pages.get(url);
    const file = FILES[url];
    if (page !== undefined) response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end(page);
    else if (file === undefined) response.writeHead(404).end();
    else response.writeHead(200, { 'content-type': file[0] }).end(readFileSync(root + file[1]));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    origin: `http://localhost:${(server.address() as AddressInfo).port}`,
    pages,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}
