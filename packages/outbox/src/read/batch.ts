// What is read at once: how much it may be, of which lane, and what it was.

import type { OutboxEvent } from '../log/event.ts';
import type { Cursor } from './cursor.ts';

export interface BatchLimit {
  /** The most late and the most new events. */
  readonly events: number;
  /** Characters of JSON after which no event is added. There is at least one, however large. Default 16 Mi. */
  readonly characters?: number;
}

/** Which lane of how many. */
export interface LaneSlice {
  readonly lane: number;
  readonly lanes: number;
}

export interface ReadBatch {
  /** Late events, then new ones, each in the order of their positions. */
  readonly events: readonly OutboxEvent[];
  /**
   * How far this look went. `end`: to the end of the log as it was then. `more`: there may be more to read at once; with
   * one lane, only behind events, while a lane of several also walks over stretches without events of its own.
   * `barrier`: to where all lanes of the group stop, since their number changes.
   */
  readonly reached: 'more' | 'end' | 'barrier';
  /** The cursor to store once these events are delivered. Without events it need not be stored, but is cheaper to read from. */
  readonly next: Cursor;
  /** Of the events' JSON, in characters. */
  readonly size: number;
  /** The database's clock when the batch was read, in milliseconds since 1970. */
  readonly readAtMs: number;
  /** `performance.now()` when it arrived, to go on counting from `readAtMs` here. */
  readonly receivedAtMs: number;
}
