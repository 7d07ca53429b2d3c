// Starts one broker inside the test process, on free loopback ports. The only place in test/ that knows how a broker
// is made; everything else speaks bytes to its ports.

export interface RunningBroker {
  /** Bound port of the TCP listener. */
  readonly tcp: number;
  /** Bound port of the WebSocket listener, whose path is /mqtt. */
  readonly ws: number;
  /** Graceful stop; resolves when both ports are free. */
  stop(): Promise<void>;
}

interface BrokerModule {
  createBroker(options: { set: readonly string[] }): Promise<RunningBroker>;
}

/**
 * @param overrides settings as `lethe serve --set` takes them, `name=value`; they win over the free ports set here.
 */
export async function startBroker(overrides: readonly string[] = []): Promise<RunningBroker> {
  const entry: string = new URL('../engine/lethe.ts', import.meta.url).href;
  const { createBroker } = (await import(entry)) as BrokerModule;
  return createBroker({ set: ['listener.tcp.port=0', 'listener.ws.port=0', ...overrides] });
}
