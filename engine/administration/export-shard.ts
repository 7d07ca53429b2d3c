// The export of what is held for one client, as lines of JSON: the session, its subscriptions, what is queued for it with payloads in base64, and an end that says that all is there.
// It goes into a file that whoever asked has made for it, and nowhere else: no answer of the API holds a payload.
import { constants, type Stats } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { Property } from '../../protocol/properties.ts';
import { MessageView } from '../../protocol/publish.ts';
import { shownMs } from '../clock.ts';
import { FenceWay, raiseFence } from '../routing/fence.ts';
import type { Shard } from '../routing/shard.ts';
import { DeliveryState } from '../sessions/deliveries.ts';
import { SESSION_NEVER_EXPIRES, type Session, type Will } from '../sessions/session.ts';
import { SubscriptionOption } from '../sessions/target.ts';

export interface ExportCounts {
  readonly subscriptions: number;
  readonly messages: number;
  /** Of the file. */
  readonly bytes: number;
}

/** What a shard says: null without the session; what went wrong, in words for the one who asked. */
export type ExportedByShard = ExportCounts | { readonly problem: string } | null;

/** Deliveries that are read at once. */
const READ_AT_ONCE = 64;
/** Characters that are written at once, but for the end of a line. */
const WRITE_AT_ONCE = 1_048_576;

/** Writes what this shard holds for a client. The session stays here meanwhile: who asks sees to that (`Directory.hold`). */
export async function exportInShard(shard: Shard, clientId: string, path: string): Promise<ExportedByShard> {
  if (shard.peers !== null) await new Promise<void>((resolve) => raiseFence(shard, FenceWay.DIRECT, resolve));
  const session = shard.sessions.find(clientId);
  if (session === null) return null;
  const opened = await openFile(path);
  if (typeof opened === 'string') return { problem: opened };
  try {
    return await write(shard, session, opened);
  } catch (error) {
    return { problem: `the file cannot be written (${(error as NodeJS.ErrnoException).code ?? 'unknown error'})` };
  } finally {
    await opened.close();
  }
}

/** The file, if it is an empty one of the broker's user that nobody else can read; what is wrong with it otherwise. */
async function openFile(path: string): Promise<FileHandle | string> {
  let file: FileHandle;
  try {
    // Not made here, not followed, not waited for.
    file = await open(path, constants.O_WRONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return `the broker cannot open the file (${code}); it must exist, in a folder that the broker's user may enter`;
  }
  let isFit = false;
  try {
    isFit = isFitting(await file.stat());
    if (isFit) return file;
  } finally {
    if (!isFit) await file.close();
  }
  return "the file must be a regular one, empty, of the broker's user, with mode 0600 and one name";
}

function isFitting({ mode, size, nlink, uid }: Stats): boolean {
  const user = process.geteuid?.();
  const isFile = (mode & constants.S_IFMT) === constants.S_IFREG;
  return isFile && size === 0 && nlink === 1 && (mode & 0o077) === 0 && (uid === user || user === 0);
}

async function write(shard: Shard, session: Session, file: FileHandle): Promise<ExportedByShard> {
  const { deliveries, tail, stored } = session;
  // What was sent by now, on this connection or before: what is sent while the file is written may be said not to be.
  const sentEnd = Math.max(session.sentBefore, deliveries.base + deliveries.sent);
  let bytes = 0;
  const put = async (lines: readonly object[]) => {
    let text = '';
    for (const [at, line] of lines.entries()) {
      text += `${JSON.stringify(line)}\n`;
      // Together they may be more than a string can hold.
      if (text.length < WRITE_AT_ONCE && at < lines.length - 1) continue;
      const block = Buffer.from(text);
      await file.writeFile(block);
      bytes += block.length;
      text = '';
    }
  };
  const subscriptions = [...session.subscriptions.values()].map(subscriptionLine);
  // Of a session that cannot outlive its connection the messages are in memory alone, and in the moment of this call.
  const loaded = stored === 0 ? loadedLines(shard, session) : [];
  const from = deliveries.base;
  await put([sessionLine(shard, session), ...subscriptions]);
  let messages = loaded.length;
  await put(loaded);
  for (let at = from; stored !== 0 && at < tail; ) {
    const lines: object[] = [];
    const next = await readLines(shard, session, at, sentEnd, lines);
    // What was read before or after its end cannot be told apart.
    if (session.stored !== stored || shard.sessions.at(session.handle) !== session)
      return { problem: 'the session has ended meanwhile; what was written is not all of it' };
    await put(lines);
    messages += lines.length;
    if (next <= at) break;
    at = next;
  }
  await put([{ kind: 'end', subscriptions: subscriptions.length, messages }]);
  await file.datasync();
  return { subscriptions: subscriptions.length, messages, bytes };
}

function readLines(shard: Shard, session: Session, from: number, sentEnd: number, lines: object[]): Promise<number> {
  return new Promise((resolve) => {
    shard.store.read(session.stored, from, READ_AT_ONCE, {
      delivery(position, bits, _subscriptionIds, _received, message) {
        // Of one that was received only its identifier is left.
        if (message !== null) lines.push(messageLine(shard, message, bits & 3, bits >> 2, position < sentEnd));
      },
      end: resolve,
    });
  });
}

function loadedLines(shard: Shard, { deliveries }: Session): object[] {
  const lines: object[] = [];
  const view = new MessageView();
  for (let offset = 0; offset < deliveries.count; offset++) {
    if (deliveries.state(offset) === DeliveryState.DONE || !shard.messages.view(deliveries.message(offset), view)) continue;
    const wasSent = offset < deliveries.sent || deliveries.wasSent(offset);
    lines.push(messageLine(shard, view, deliveries.qos(offset), deliveries.retain(offset), wasSent));
  }
  return lines;
}

function sessionLine(shard: Shard, session: Session): object {
  const { clientId, username, level, expiryS, connection, disconnectedAtMs, will } = session;
  return {
    kind: 'session',
    exportedAt: new Date(shard.clock.wallMs()).toISOString(),
    client: clientId,
    username,
    protocolLevel: level,
    expiryS: expiryS === SESSION_NEVER_EXPIRES ? null : expiryS,
    connected: connection !== null,
    disconnectedAt:
      connection === null && disconnectedAtMs > 0 ? new Date(shownMs(shard.clock, disconnectedAtMs)).toISOString() : null,
    will: will === null ? null : willOf(will),
  };
}

function willOf({ topic, payload, properties, qos, retain, delayS, expiryS }: Will): object {
  return {
    topic: Buffer.from(topic).toString(),
    qos,
    retain,
    delayS,
    expiryS: expiryS < 0 ? null : expiryS,
    properties: propertiesOf(properties, 0, properties.length),
    payload: Buffer.from(payload).toString('base64'),
  };
}

function subscriptionLine({ filter, options, identifier }: { filter: Uint8Array; options: number; identifier: number }): object {
  return {
    kind: 'subscription',
    filter: Buffer.from(filter).toString(),
    qos: options & SubscriptionOption.QOS_MASK,
    noLocal: (options & SubscriptionOption.NO_LOCAL) !== 0,
    retainAsPublished: (options & SubscriptionOption.RETAIN_AS_PUBLISHED) !== 0,
    identifier: identifier === 0 ? null : identifier,
  };
}

function messageLine(shard: Shard, view: MessageView, qos: number, retain: number, wasSent: boolean): object {
  return {
    kind: 'message',
    topic: Buffer.from(view.topic.subarray(view.topicFrom, view.topicTo)).toString(),
    qos,
    retain: retain !== 0,
    /** Whether it was sent to the client, which has not acknowledged it. */
    sent: wasSent,
    expiresAt: view.expiresAtMs === Infinity ? null : new Date(shownMs(shard.clock, view.expiresAtMs)).toISOString(),
    properties: propertiesOf(view.properties, view.propertiesFrom, view.propertiesTo),
    payload: Buffer.from(view.payload.subarray(view.payloadFrom, view.payloadTo)).toString('base64'),
  };
}

interface MessageProperties {
  payloadFormatIndicator?: number;
  contentType?: string;
  responseTopic?: string;
  /** Base64. */
  correlationData?: string;
  userProperties?: [name: string, value: string][];
}

/** Properties of a message as they are kept: judged when they came, those of a hop left out. */
function propertiesOf(properties: Uint8Array, from: number, to: number): MessageProperties {
  const bytes = Buffer.from(properties.subarray(from, to));
  const found: MessageProperties = {};
  const users: [string, string][] = [];
  const binary = (at: number) => bytes.subarray(at + 2, at + 2 + bytes.readUInt16BE(at));
  for (let at = 0; at < bytes.length; ) {
    const id = bytes[at++]!;
    if (id === Property.PAYLOAD_FORMAT_INDICATOR) {
      found.payloadFormatIndicator = bytes[at++]!;
      continue;
    }
    const value = binary(at);
    at += 2 + value.length;
    if (id === Property.CONTENT_TYPE) found.contentType = value.toString();
    else if (id === Property.RESPONSE_TOPIC) found.responseTopic = value.toString();
    else if (id === Property.CORRELATION_DATA) found.correlationData = value.toString('base64');
    else {
      const second = binary(at);
      at += 2 + second.length;
      users.push([value.toString(), second.toString()]);
    }
  }
  if (users.length > 0) found.userProperties = users;
  return found;
}
