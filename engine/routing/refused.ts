// HOT: no allocation, closures, strings, try or async per message.
// A message that a receiver elsewhere, or on its way here, did not take.
import { Refusal } from '../peers/tickets.ts';
import { TICKET_LEVEL_5, TICKET_MASK, TICKET_QOS_2 } from './remote.ts';
import type { Shard } from './shard.ts';

/** Notes how the message of a ticket was refused. A QoS 2 identifier whose PUBREC says so is free again. */
export function refuseTicket(shard: Shard, ticket: number, refusal: Refusal): void {
  const { tickets } = shard.peers!;
  if (ticket === 0 || refusal === Refusal.NONE) return;
  tickets.refuse(ticket, refusal);
  const packet = tickets.packet(ticket);
  if ((packet & TICKET_QOS_2) === 0 || ((packet & TICKET_LEVEL_5) === 0 && refusal !== Refusal.STORE)) return;
  const session = shard.sessions.at(tickets.owner(ticket));
  if (session === null) return;
  const packetId = packet & 0xffff;
  // By the first refusal it was free, and has come again: what another shard says of the message before is of no account.
  if (tickets.find(session.handle, packetId | TICKET_QOS_2, TICKET_MASK) !== ticket) return;
  if (session.inbound.remove(packetId) && session.stored !== 0) shard.store.dropInbound(session.stored, packetId);
}
