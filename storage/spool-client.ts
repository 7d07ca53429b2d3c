// What the spool knows of one of its clients: how many of its intents it has applied, and the message that it has under way.
import { OpenMessage } from './open-message.ts';

export class SpoolClient {
  readonly open = new OpenMessage();
  /** Intents applied so far. */
  applied = 0;
}
