// The beginning of an attempt at parked events: counted before the handler runs, so that one which ends the process
// has been counted, too.

import type { Queryable } from '@pulsebox/postgres';
import type { CustomTypesConfig } from 'pg';
import type { JsonValue, OutboxEvent } from '../log/event.ts';
import { boundedTypes, eventTypes, LEFT_OUT } from '../log/event-types.ts';
import { OF_LANE } from './of-lane.ts';
import { laneLeaseName } from '../lease/lane-of-group.ts';
import type { HeldLane, LaneOfGroup } from '../lease/lane-of-group.ts';

export interface ClaimedEvent {
  readonly event: OutboxEvent;
  /** Attempts started, this one included. */
  readonly attempts: number;
  /** The database's clock when it was claimed, in milliseconds since 1970. */
  readonly claimedAtMs: number;
  /** `performance.now()` when the answer came, to go on counting from `claimedAtMs` here. */
  readonly receivedAtMs: number;
}

/**
 * Result: the events, with the attempt counted. $1 group, $2 the lease's name, $3 token, $4 positions.
 * Indexes: lease_pkey, parked_pkey. Rows are left out that an operator has discarded or locked meanwhile; 0 rows may
 * also mean that the lease was lost. One without a time that has not failed waits behind another of its key, and goes out
 * with it. The lease comes first, and what is due is locked after it: a replay or discard
 * locks both in that order.
 */
export const CLAIM_PARKED = `
  with lease as (
    select from pulsebox.lease where name = $2 and token = $3 for share
  ),
  due as materialized (
    select d.position from lease, outbox.parked d
    where d.group_name = $1 and d.position = any($4::bigint[])
      and d.state = 'parked'
      and (d.next_attempt_at <= statement_timestamp() or d.next_attempt_at is null and d.attempts = 0)
    for update of d skip locked
  )
  update outbox.parked p set attempts = p.attempts + 1, attempting_since = clock_timestamp()
  from due
  where p.group_name = $1 and p.position = due.position
  returning p.position, p.topic, p.key, p.payload, p.headers, date_part('epoch', p.created_at), p.attempts,
            date_part('epoch', p.attempting_since)`;

/**
 * Takes the count of an attempt back that came to no verdict on the event. $1 group, $2 the lease's name, $3 token,
 * $4 positions. Indexes: lease_pkey, parked_pkey.
 */
export const UNDO_CLAIM = `
  with lease as (
    select from pulsebox.lease where name = $2 and token = $3 for share
  )
  update outbox.parked p set attempts = greatest(0, p.attempts - 1), attempting_since = null
  from lease
  where p.group_name = $1 and p.position = any($4::bigint[]) and p.attempting_since is not null`;

/**
 * Result: events whose attempt nobody lived to see the end of, if nobody but the caller can have one under way.
 * $1 group, $2 lane. Index: parked_attempting.
 */
export const INTERRUPTED_ATTEMPTS: string = `
  select p.position, p.topic, p.key, p.payload, p.headers, date_part('epoch', p.created_at), p.attempts,
         date_part('epoch', p.attempting_since)
  from outbox.parked p
  where p.group_name = $1 and p.attempting_since is not null
    and ${OF_LANE}
  order by p.position`;

type Row = readonly [
  position: number,
  topic: string,
  key: string | null,
  payload: JsonValue,
  headers: Readonly<Record<string, JsonValue>>,
  createdAtSeconds: number,
  attempts: string,
  claimedAtSeconds: number,
];

export interface Claim {
  /** In the order of the log. */
  readonly claimed: readonly ClaimedEvent[];
  /** Claimed as well, and too much for one batch: to be given back. */
  readonly leftOut: readonly number[];
  /** Of the claimed events' JSON, in characters. */
  readonly size: number;
}

/** @param options.mostCharacters of JSON, after which no event is taken any more */
export async function claimParked(
  db: Queryable,
  lane: HeldLane,
  options: { readonly positions: readonly number[]; readonly mostCharacters: number },
): Promise<Claim> {
  const { types, size } = boundedTypes(options.mostCharacters);
  const values = [lane.group, laneLeaseName(lane), lane.token, options.positions];
  const rows = await rowsOf(db, { text: CLAIM_PARKED, values, types });
  const leftOut = rows.filter(isLeftOut).map(({ event }) => event.position);
  return { claimed: rows.filter((row) => !isLeftOut(row)), leftOut, size: size() };
}

export async function undoClaim(db: Queryable, lane: HeldLane, positions: readonly number[]): Promise<void> {
  await db.query(UNDO_CLAIM, [lane.group, laneLeaseName(lane), lane.token, positions]);
}

export async function interruptedAttempts(db: Queryable, lane: LaneOfGroup): Promise<ClaimedEvent[]> {
  const values = [lane.group, lane.lane];
  return await rowsOf(db, { text: INTERRUPTED_ATTEMPTS, values, types: eventTypes });
}

function isLeftOut({ event }: ClaimedEvent): boolean {
  return (event.payload as unknown) === LEFT_OUT;
}

async function rowsOf(
  db: Queryable,
  query: { readonly text: string; readonly values: unknown[]; readonly types: CustomTypesConfig },
): Promise<ClaimedEvent[]> {
  const { rows } = await db.query<[...Row]>({ ...query, rowMode: 'array' });
  const receivedAtMs = performance.now();
  return rows
    .map(([position, topic, key, payload, headers, createdAtSeconds, attempts, claimedAtSeconds]) => ({
      event: { position, topic, key, payload, headers, createdAt: new Date(createdAtSeconds * 1_000) },
      attempts: Number(attempts),
      claimedAtMs: claimedAtSeconds * 1_000,
      receivedAtMs,
    }))
    .toSorted((one, other) => one.event.position - other.event.position);
}
