// What a bridge counts, for the metrics. Its name is the operator's.
export interface BridgeFigures {
  readonly name: string;
  readonly isConnected: boolean;
  /** PUBLISH packets that were passed on, those that were sent again included. */
  readonly messagesOut: number;
  readonly messagesIn: number;
  /** What the other side did not take, or no topic line means. */
  readonly refusedOut: number;
  readonly refusedIn: number;
  /** What had been here before, and went no further. */
  readonly looped: number;
  /** Links after the first one. */
  readonly reconnects: number;
}
