// How far one read looks, and how far it came.
//
// A lane's events are found by looking at those of all lanes. So that a lane whose keys are rare never looks through the
// whole log at once, a read goes through at most `limit × lanes` late and as many new events, returns the lane's own of
// them, and moves the cursor to the end of what it has seen. A stretch without an event of the lane costs a read, and
// the reader walks on. With one lane all that is seen is the reader's own.

import type { OutboxEvent } from '../log/event.ts';
import type { LaneSlice } from './batch.ts';

export const wholeLog: LaneSlice = { lane: 0, lanes: 1 };

/** Events of all lanes that a read has looked at. */
export interface Seen {
  readonly seen: number;
  /** The last of them; null: there is none. */
  readonly seenTo: number | null;
}

/** Under what a look for late and new events was made. */
export interface LookHead {
  readonly snapshot: string;
  /** Null: there is nothing to deliver. */
  readonly ceiling: string | null;
}

/** Of a look for late and new events. `seen` are the new ones. */
export interface WindowHead extends LookHead, Seen {
  /** More than the window: there are more than it shows. */
  readonly lateSeen: number;
  /** The last of the late events in the window; null: there is none. */
  readonly lateSeenTo: number | null;
}

/** Of a look at a frozen page. `seen` below the window: the page ends there. */
export type PageHead = Seen;

/** Events of all lanes that a read looks at. */
export function windowOf(limit: number, { lanes }: LaneSlice): number {
  return limit * lanes;
}

/** The last that counts as read: of a full batch its own last event, since those behind it were left out. */
export function endOf(events: readonly OutboxEvent[], full: boolean, seenTo: number | null): number {
  const last = full ? lastPosition(events) : seenTo;
  if (last === null) throw new Error('the log did not say how far it was read');
  return last;
}

/** Null: there is none. */
export function lastPosition(events: readonly OutboxEvent[]): number | null {
  return events.at(-1)?.position ?? null;
}

/** Of events that stand late ones first. */
export function lateOf(events: readonly OutboxEvent[], position: number): readonly OutboxEvent[] {
  const firstNew = events.findIndex((event) => event.position > position);
  return firstNew === -1 ? events : events.slice(0, firstNew);
}
