// A listener whose files can be read anew while it listens. In two steps, so that a broken file of any listener, in any shard, leaves all of them as they were.
import type { Link, Listener } from '../link.ts';
import type { TlsOptions } from './certificate.ts';

/** What may be different. */
export interface ListenerChange {
  /** Of web pages; null for any. Only WebSocket listeners look at it. */
  readonly origins: readonly string[] | null;
  /** Absent where the listener has no TLS, which cannot change. */
  readonly tls?: TlsOptions;
}

/** What has been read and found good. Dropped without `apply` it changes nothing. */
export interface PreparedListener {
  /** Makes what is never given back once it is made: called when everything else is found good, before `apply`. @throws Error in one line */
  build?(): void;
  /** Puts it in force for connections from now on, inside the call; those that stand stay. Resolves with the links whose client's certificate nobody vouches for any more. Cannot fail. */
  apply(): Promise<readonly Link[]> | readonly Link[];
}

export interface ReloadableListener extends Listener {
  /** @throws Error in one line that names the listener and the option that is wrong and says what to do */
  prepare(change: ListenerChange): Promise<PreparedListener>;
}
