// Who takes part in a campaign: publishers, the owner of the retained notices, subscribers of every temper, and guests that come and go.

import type { Level } from '../conformance/bytes.ts';
import { SeededRandom } from '../seeded-random.ts';
import type { Ledger } from './ledger.ts';
import { Notices } from './notices.ts';
import { BULK_NAME, Publisher } from './publisher.ts';
import { Manner, Subscriber, type SubscriberPlan } from './subscriber.ts';

/** How a subscriber takes part in a round. */
export const Temper = {
  /** There from the beginning of each round. */
  STEADY: 'steady',
  /** The same, and loses its line in between. */
  FLAPPING: 'flapping',
  /** Away, but for some rounds. */
  RARE: 'rare',
} as const;
export type Temper = (typeof Temper)[keyof typeof Temper];

export interface Player {
  readonly subscriber: Subscriber;
  readonly temper: Temper;
  /** One of these for each line. */
  readonly manners: readonly Manner[];
}

type Role = readonly [plan: SubscriberPlan, temper: Temper, manners: readonly Manner[]];

const { PROMPT, SHUFFLED, UNFINISHED, SILENT } = Manner;

const roles: readonly Role[] = [
  [{ name: 'prompt4', level: 4, shared: 2, hasOwn: true, receiveMaximum: 0 }, Temper.STEADY, [PROMPT]],
  [{ name: 'prompt5', level: 5, shared: 2, hasOwn: true, receiveMaximum: 0 }, Temper.STEADY, [PROMPT]],
  [{ name: 'least', level: 5, shared: 1, hasOwn: true, receiveMaximum: 0 }, Temper.STEADY, [PROMPT, SHUFFLED]],
  [{ name: 'shuffled', level: 4, shared: 2, hasOwn: true, receiveMaximum: 0 }, Temper.STEADY, [SHUFFLED]],
  [{ name: 'narrow', level: 5, shared: 2, hasOwn: true, receiveMaximum: 8 }, Temper.STEADY, [SHUFFLED, UNFINISHED, PROMPT]],
  [{ name: 'stubborn', level: 5, shared: 2, hasOwn: true, receiveMaximum: 40 }, Temper.STEADY, [UNFINISHED, SILENT, PROMPT]],
  [{ name: 'flapping4', level: 4, shared: 2, hasOwn: true, receiveMaximum: 0 }, Temper.FLAPPING, [PROMPT, SHUFFLED]],
  [{ name: 'flapping5', level: 5, shared: 2, hasOwn: true, receiveMaximum: 20 }, Temper.FLAPPING, [PROMPT]],
  [{ name: 'rare4', level: 4, shared: 2, hasOwn: true, receiveMaximum: 0 }, Temper.RARE, [PROMPT]],
  [{ name: 'rare5', level: 5, shared: 2, hasOwn: true, receiveMaximum: 30 }, Temper.RARE, [PROMPT, SHUFFLED]],
  [{ name: 'rarest', level: 5, shared: 1, hasOwn: false, receiveMaximum: 0 }, Temper.RARE, [PROMPT, UNFINISHED]],
];

const publishers: readonly (readonly [name: string, level: Level])[] = [
  ['p0', 4],
  ['p1', 5],
  ['p2', 4],
  ['p3', 5],
];

const BULK: SubscriberPlan = { name: BULK_NAME, level: 4, shared: null, hasOwn: true, receiveMaximum: 0 };

export class Cast {
  readonly players: Player[];
  /** Gets much at once, and is away otherwise. */
  readonly bulk: Subscriber;
  readonly publishers: readonly Publisher[];
  readonly notices: Notices;
  /** Subscribed in the middle of the load, oldest first. */
  readonly guests: Subscriber[] = [];
  readonly #random: SeededRandom;
  readonly #ledger: Ledger;
  #guestsSoFar = 0;

  constructor(random: SeededRandom, ledger: Ledger) {
    this.#random = random;
    this.#ledger = ledger;
    this.players = roles.map(([plan, temper, manners]) => {
      return { subscriber: new Subscriber(plan, this.#fork(), ledger), temper, manners };
    });
    this.bulk = new Subscriber(BULK, this.#fork(), ledger);
    const addressees = roles.filter(([{ hasOwn }]) => hasOwn).map(([{ name }]) => name);
    this.publishers = publishers.map(([name, level]) => new Publisher(name, level, addressees, this.#fork(), ledger));
    this.notices = new Notices('notices', 5, this.#fork(), ledger);
  }

  get subscribers(): Subscriber[] {
    return [...this.players.map(({ subscriber }) => subscriber), this.bulk, ...this.guests];
  }

  /** Everybody who sends. */
  get sources(): (Publisher | Notices)[] {
    return [...this.publishers, this.notices];
  }

  /** Somebody new. */
  invite(): Subscriber {
    const number = ++this.#guestsSoFar;
    const plan: SubscriberPlan = {
      name: `guest${number}`,
      level: number % 2 === 0 ? 4 : 5,
      shared: number % 3 === 0 ? 1 : 2,
      hasOwn: false,
      receiveMaximum: 0,
    };
    const guest = new Subscriber(plan, this.#fork(), this.#ledger);
    this.guests.push(guest);
    return guest;
  }

  /** Hands out what may be published: something for each source, `most` messages at the most. */
  encourage(most: number): void {
    for (const source of this.sources) {
      source.quota = this.#random.below(source === this.notices ? Math.ceil(most / 4) : most) + 1;
      source.sender.fill();
    }
  }

  cutAll(): void {
    for (const subscriber of this.subscribers) subscriber.peer.cut();
    for (const source of this.sources) source.sender.peer.cut();
  }

  #fork(): SeededRandom {
    return new SeededRandom(this.#random.below(2 ** 31));
  }
}
