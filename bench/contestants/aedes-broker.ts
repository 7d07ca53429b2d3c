// The process of aedes under test: node aedes-broker.js STREAM-PORT WS-PORT [CERTIFICATE KEY], on loopback; 0 takes a free port.
// It has its default options and keeps everything in memory. When it is ready it writes one line, the two ports.
import { readFileSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { Aedes } from 'aedes';
import { createWebSocketStream, WebSocketServer } from 'ws';

const [streamPort, wsPort, certFile, keyFile] = process.argv.slice(2);
const aedes = await Aedes.createBroker();
// A client that breaks off is nobody's failure.
for (const event of ['clientError', 'connectionError'] as const) aedes.on(event, () => {});

const secure = certFile === undefined ? null : { cert: readFileSync(certFile), key: readFileSync(keyFile!) };
// As Lethe has it: small packets are not held back.
const take = { noDelay: true };
const stream = secure === null ? createServer(take, aedes.handle) : createTlsServer({ ...take, ...secure }, aedes.handle);
const http = secure === null ? createHttpServer(take) : createHttpsServer({ ...take, ...secure });
new WebSocketServer({ server: http }).on('connection', (socket, request) => {
  aedes.handle(createWebSocketStream(socket), request);
});

const ports = [await listen(stream, Number(streamPort)), await listen(http, Number(wsPort))];
process.stdout.write(`${JSON.stringify(ports)}\n`);

function listen(server: Server, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', () => resolve((server.address() as AddressInfo).port));
  });
}
