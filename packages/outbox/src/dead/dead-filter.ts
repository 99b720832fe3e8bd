// Which parked events an operator means: by group, topic, key, age, or one by one.

import type { Queryable } from '@pulsebox/postgres';
import { formatDeadId } from './dead-id.ts';
import type { DeadId } from './dead-id.ts';
import { OutboxError } from '../outbox-error.ts';

/** `dead`: it waits for a person. `parked`: it is tried again, or waits behind another of its key. */
export type ParkedState = 'dead' | 'parked';

/** What is absent restricts nothing. */
export interface DeadFilter {
  readonly group?: string;
  readonly topic?: string;
  readonly key?: string;
  /** It failed last at least this long ago, in seconds on the database's clock; for one that never did: was parked. */
  readonly olderThanSeconds?: number;
  /** It failed last at most this long ago. */
  readonly newerThanSeconds?: number;
  readonly ids?: readonly DeadId[];
}

/**
 * The condition that every statement of `pulsebox dead` shares, on rows `p` of outbox.parked.
 * $1 group, $2 topic, $3 key, $4 failed at or before, $5 failed at or after, $6 and $7 groups and positions of ids.
 * Null restricts nothing: values are known when the statement is planned, and what is null is gone from the plan.
 * The two lists of an id are looked up by parked_pkey; that they belong together is said after that.
 */
export const MATCHES: string = `
  ($1::text is null or p.group_name = $1)
  and ($2::text is null or p.topic = $2)
  and ($3::text is null or p.key = $3)
  and ($4::timestamptz is null or coalesce(p.failed_at, p.parked_at) <= $4)
  and ($5::timestamptz is null or coalesce(p.failed_at, p.parked_at) >= $5)
  and ($6::text[] is null
       or p.group_name = any ($6) and p.position = any ($7::bigint[])
          and (p.group_name, p.position) in (select * from unnest($6, $7)))`;

/** The values of `MATCHES`. */
export type FilterValues = readonly [
  group: string | null,
  topic: string | null,
  key: string | null,
  before: string | null,
  after: string | null,
  idGroups: readonly string[] | null,
  idPositions: readonly number[] | null,
];

/**
 * Result: one row: when it was $1, and $2, seconds ago, and those of the groups in $3 that there are not.
 * Index: consumer_group_pkey. Text: a Date has no microseconds.
 */
const RESOLVE = `
  select (clock_timestamp() - make_interval(secs => $1))::text as before,
         (clock_timestamp() - make_interval(secs => $2))::text as after,
         array(select wanted from unnest($3::text[]) wanted
               where not exists (select from outbox.consumer_group g where g.name = wanted)) as unknown`;

/**
 * Checks the filter, and fixes its ages to points in time, so that work in many steps goes on to mean the same events.
 *
 * @throws OUTBOX_FILTER_INVALID, OUTBOX_GROUP_UNKNOWN
 */
export async function resolveFilter(db: Queryable, filter: DeadFilter): Promise<FilterValues> {
  assertValid(filter);
  const { group = null, topic = null, key = null, olderThanSeconds = null, newerThanSeconds = null } = filter;
  const ids = filter.ids ?? null;
  const groups = [...(group === null ? [] : [group]), ...(ids ?? []).map((id) => id.group)];
  const { rows } = await db.query<{ before: string | null; after: string | null; unknown: string[] }>(
    RESOLVE,
    [olderThanSeconds, newerThanSeconds, [...new Set(groups)]],
  );
  const { before = null, after = null, unknown = [] } = rows[0] ?? {};
  if (unknown[0] !== undefined) {
    throw new OutboxError(
      'OUTBOX_GROUP_UNKNOWN',
      `there is no consumer group ${JSON.stringify(unknown[0])}`,
      { hint: '`pulsebox groups` lists those there are; what a retired group had parked went with it' },
    );
  }
  return [
    group,
    topic,
    key,
    before,
    after,
    ids === null ? null : ids.map((id) => id.group),
    ids === null ? null : ids.map((id) => id.position),
  ];
}

function assertValid({ olderThanSeconds, newerThanSeconds, ids }: DeadFilter): void {
  for (const [name, seconds] of Object.entries({ olderThanSeconds, newerThanSeconds })) {
    if (seconds !== undefined && !(Number.isFinite(seconds) && seconds >= 0))
      throw invalid(`expected ${name} to be a number of seconds, 0 or more, got ${seconds}`);
  }
  if (
    olderThanSeconds !== undefined &&
    newerThanSeconds !== undefined &&
    olderThanSeconds > newerThanSeconds
  ) {
    throw invalid(
      `nothing can be older than ${olderThanSeconds} s and newer than ${newerThanSeconds} s at once`,
    );
  }
  const odd = ids?.find(({ position }) => !Number.isSafeInteger(position) || position < 1);
  if (odd !== undefined) throw invalid(`expected the position of an event, got "${formatDeadId(odd)}"`);
}

export function invalid(message: string): OutboxError {
  return new OutboxError('OUTBOX_FILTER_INVALID', message, {
    hint: '`pulsebox dead list` shows what there is; its ids are such as search/1042',
  });
}
