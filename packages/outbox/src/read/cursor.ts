// How far a consumer group is. See ARCHITECTURE.md, "The cursor", for why a position alone loses events.

/**
 * Every event with seq <= `position` that `snapshot` saw is delivered, and none with a greater seq. Events at or below
 * `position` that `snapshot` did not see are late; their transactions are in the snapshot's list of open ones, or
 * between its xmax and `ceiling`.
 *
 * Snapshots and xids stay text: 64-bit numbers that only PostgreSQL calculates with.
 */
export interface Cursor {
  readonly position: number;
  /** A `pg_snapshot`, as text. */
  readonly snapshot: string;
  /** An `xid8`, as text: assigned after `snapshot` was taken, so it is above every xid that was open then. */
  readonly ceiling: string;
  /** Set while late events that do not fit into one batch are paged through; no new ones are taken until then. */
  readonly frozen: FrozenPage | null;
}

export interface FrozenPage {
  /** The snapshot under which the late events are read. */
  readonly snapshot: string;
  readonly ceiling: string;
  /** The last seq of them that is delivered. */
  readonly position: number;
}

/** Before the first event. There is nothing below position 0 that could be late. */
export const beginningOfLog: Cursor = { position: 0, snapshot: '1:1:', ceiling: '1', frozen: null };
