// What a contestant is: one way to carry events from a producer to a handler, run the way its authors run it fast.

import type { ClientBase } from 'pg';

export interface Contestant {
  /** Also the name of its file and of its database. */
  readonly name: string;
  /** For the tables. */
  readonly label: string;
  /**
   * `limit` cannot be beaten by anything that keeps its place; `peer` is a package that a user could choose;
   * `hand-written` is what people write for themselves.
   */
  readonly role: 'limit' | 'pulsebox' | 'peer' | 'hand-written';
  /** One line: versions and settings it runs with. */
  readonly setting: string;
  /** True: consuming leaves the events where they are, so they are loaded once and read again in every repetition. */
  readonly keepsEvents: boolean;
  /** Redis instead of PostgreSQL. */
  readonly needsRedis?: boolean;
  /** Makes its schema in an empty database. */
  install(where: Where): Promise<void>;
  readonly drain?: Drain;
  readonly latency?: LatencyLane;
}

export interface Where {
  readonly url: string;
  /** Different in every repetition: names a consumer group that has not read anything yet. */
  readonly run: string;
}

export interface Drain {
  /** Divides the number of events for a contestant that would take minutes; throughput is per event anyway. */
  readonly fewer?: number;
  /** Puts `events` events of about 200 bytes of payload in. Not timed. */
  load(where: Where, events: number): Promise<void>;
  /** Consumes them all with a handler that does nothing. `clock` runs from the first look to the last acknowledgement. */
  consume(where: Where, events: number, clock: Clock): Promise<void>;
}

export interface Clock {
  /** Everything is connected; the first look for work comes now. */
  readonly start: () => void;
  /** Called with the number of events acknowledged so far, as often as is convenient. */
  readonly progress: (events: number) => void;
  /** The last event is acknowledged. */
  readonly stop: () => void;
}

export interface LatencyLane {
  /** Adds one event with this id to the transaction that the client is in. */
  emit(client: ClientBase, id: number): Promise<void>;
  /** Starts to consume; resolves once it waits for events. The function that it returns stops it. */
  consume(where: Where, handled: (id: number) => void): Promise<() => Promise<void>>;
}
