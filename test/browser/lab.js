// The page's side of the browser tests: MQTT.js and Eclipse Paho behind the same few verbs, and bare WebSockets. It is served to Chromium as it stands.
/* global mqtt, Paho */

/** What each client has seen, by the name that the test gave it. */
const clients = new Map();
const sockets = new Map();
let crowdMessages = 0;

/** Byte `at` of a large message; another message has another `seed`. */
const patternByte = (at, seed) => (at * 31 + (at >> 8) * 7 + seed) & 0xff;

function pattern(length, seed) {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at++) bytes[at] = patternByte(at, seed);
  return bytes;
}

function isPattern(bytes, seed) {
  for (let at = 0; at < bytes.length; at++) if (bytes[at] !== patternByte(at, seed)) return false;
  return true;
}

/** What is kept of a message: long ones by their length and whether they are the pattern. */
function seen(topic, bytes, { qos, retained, duplicate }) {
  const short = bytes.length <= 200;
  return {
    topic,
    bytes: bytes.length,
    text: short ? new TextDecoder().decode(bytes) : '',
    qos,
    retained,
    duplicate,
    intact: short || isPattern(bytes, bytes[0]),
  };
}

function openMqttJs(record, options) {
  const { url, level, clientId, clean, keepalive, will, reconnect, expiryS } = options;
  const client = mqtt.connect(url, {
    protocolVersion: level,
    clientId,
    clean,
    keepalive,
    will,
    reconnectPeriod: reconnect ? 200 : 0,
    ...(expiryS === undefined ? {} : { properties: { sessionExpiryInterval: expiryS } }),
  });
  client.on('connect', (connack) => record.connects.push(connack.sessionPresent));
  client.on('message', (topic, payload, packet) =>
    record.messages.push(seen(topic, payload, { qos: packet.qos, retained: packet.retain, duplicate: packet.dup })),
  );
  client.on('error', (error) => record.errors.push(String(error.message)));
  client.on('disconnect', (packet) => record.errors.push(`DISCONNECT ${packet.reasonCode}`));
  client.on('close', () => record.closes++);
  client.on('packetreceive', ({ cmd }) => {
    if (cmd === 'pingresp') record.pings++;
  });
  record.subscribe = (filter, qos) => client.subscribeAsync(filter, { qos });
  record.publish = (topic, payload, qos, retain) => client.publishAsync(topic, payload, { qos, retain });
  record.end = () => client.endAsync();
}

function openPaho(record, options) {
  const { url, level, clientId, clean, keepalive, will, reconnect } = options;
  const client = new Paho.Client(url, clientId);
  const message = (topic, payload, qos, retain) => {
    const made = new Paho.Message(payload);
    Object.assign(made, { destinationName: topic, qos, retained: retain });
    return made;
  };
  /** Messages that are not acknowledged yet. */
  const sent = new Map();
  client.onMessageArrived = (arrived) =>
    record.messages.push(seen(arrived.destinationName, new Uint8Array(arrived.payloadBytes), arrived));
  client.onMessageDelivered = (delivered) => {
    sent.get(delivered)?.();
    sent.delete(delivered);
  };
  client.onConnected = () => record.connects.push(null);
  client.onConnectionLost = ({ errorCode, errorMessage }) => {
    record.closes++;
    if (errorCode !== 0) record.errors.push(errorMessage);
  };
  client.connect({
    mqttVersion: level,
    cleanSession: clean,
    keepAliveInterval: keepalive,
    timeout: 20,
    reconnect,
    ...(will === undefined ? {} : { willMessage: message(will.topic, will.payload, will.qos, will.retain) }),
    onFailure: ({ errorMessage }) => {
      record.errors.push(errorMessage);
      record.closes++;
    },
  });
  record.subscribe = (filter, qos) =>
    new Promise((onSuccess, onFailure) => client.subscribe(filter, { qos, onSuccess, onFailure }));
  record.publish = (topic, payload, qos, retain) =>
    new Promise((resolve) => {
      const made = message(topic, payload, qos, retain);
      sent.set(made, resolve);
      client.send(made);
    });
  record.end = () => client.disconnect();
}

const openers = { 'MQTT.js': openMqttJs, Paho: openPaho };

// biome-ignore lint/correctness/noUnusedVariables: the tests call it.
const lab = {
  /** Starts a client, which goes on by itself. */
  open(kind, name, options) {
    const record = { connects: [], messages: [], errors: [], closes: 0, pings: 0 };
    clients.set(name, record);
    openers[kind](record, { keepalive: 60, clean: true, reconnect: false, ...options, clientId: options.clientId ?? name });
  },
  /** What a client has seen. */
  of(name) {
    const { connects, messages, errors, closes, pings } = clients.get(name);
    return { connects, messages, errors, closes, pings };
  },
  subscribe: async (name, filter, qos) => void (await clients.get(name).subscribe(filter, qos)),
  publish: async (name, topic, payload, qos = 0, retain = false) =>
    void (await clients.get(name).publish(topic, payload, qos, retain)),
  publishPattern: async (name, topic, length, seed, qos) =>
    void (await clients.get(name).publish(topic, pattern(length, seed), qos, false)),
  end: async (name) => void (await clients.get(name).end()),

  /** A WebSocket without a client behind it. */
  socket(name, url, subprotocols) {
    const socket = new WebSocket(url, subprotocols);
    const record = { socket, opened: false, errors: 0, bytes: 0, close: null };
    socket.binaryType = 'arraybuffer';
    socket.onopen = () => {
      record.opened = true;
    };
    socket.onerror = () => record.errors++;
    socket.onmessage = ({ data }) => {
      record.bytes += data.byteLength;
    };
    socket.onclose = ({ code, reason, wasClean }) => {
      record.close = { code, reason, wasClean };
    };
    sockets.set(name, record);
  },
  send: (name, data) => sockets.get(name).socket.send(typeof data === 'string' ? data : new Uint8Array(data)),
  sendPattern: (name, length) => sockets.get(name).socket.send(pattern(length, 0x10)),
  socketOf(name) {
    const { socket, opened, errors, bytes, close } = sockets.get(name);
    return { opened, protocol: socket.protocol, errors, bytes, close };
  },

  /** Many connections of MQTT.js that listen to one topic, so many at a time; resolves with how many are in. */
  async crowd(url, from, count, batch) {
    let isIn = 0;
    const join = async (number) => {
      const client = await mqtt.connectAsync(url, {
        clientId: `crowd-${number}`,
        reconnectPeriod: 0,
        protocolVersion: 5,
        keepalive: 600,
      });
      client.on('message', () => crowdMessages++);
      await client.subscribeAsync('crowd', { qos: 1 });
      isIn++;
    };
    for (let at = from; at < from + count; at += batch) {
      const size = Math.min(batch, from + count - at);
      await Promise.allSettled(Array.from({ length: size }, (_, of) => join(at + of)));
    }
    return isIn;
  },
  crowdHeard: () => crowdMessages,

  /** A line in the table, for the picture. */
  show(test, state, saw) {
    const row = document.getElementById('results').insertRow();
    for (const [text, kind] of [[test], [state, state], [saw]])
      Object.assign(row.insertCell(), { textContent: text, className: kind ?? '' });
  },
};

document.getElementById('where').textContent =
  `A page of ${location.origin} in ${navigator.userAgent.replace(/.*(Chrome\/\d+).*/, '$1')}`;
