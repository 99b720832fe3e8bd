// Rows of outbox.parked as a lane's session leaves them, for tests of what people do with them.

import type { Queryable } from '@pulsebox/postgres';

export interface ParkedRow {
  readonly group: string;
  readonly position: number;
  readonly topic?: string;
  readonly key?: string | null;
  readonly payload?: string;
  readonly state?: 'dead' | 'parked';
  readonly attempts?: number;
  readonly reasons?: readonly string[];
  /** Seconds since it failed last. Default 60; null: it never did. */
  readonly failedAgo?: number | null;
  /** Seconds until it is tried next; null: nothing says when. */
  readonly dueIn?: number | null;
  readonly attempting?: boolean;
}

const PARK = `
  insert into outbox.parked (group_name, position, topic, key, payload, headers, created_at, state, attempts, errors,
                             failed_at, next_attempt_at, attempting_since)
  values ($1, $2, $3, $4, $5, '{"by": "anna"}', now() - interval '1 day', $6, $7, $8,
          now() - make_interval(secs => $9), now() + make_interval(secs => $10), case when $11 then now() end)`;

export async function park(db: Queryable, ...rows: readonly ParkedRow[]): Promise<void> {
  for (const row of rows) {
    const { key = null, state = 'dead', reasons = ['it broke'], failedAgo = 60, dueIn = null } = row;
    const attempts = row.attempts ?? (failedAgo === null ? 0 : 5);
    const errors = failedAgo === null ? [] : reasons.map(errorAt);
    await db.query(PARK, [
      row.group,
      row.position,
      row.topic ?? 'item.upserted',
      key,
      row.payload ?? '{}',
      state,
      attempts,
      JSON.stringify(errors),
      failedAgo,
      dueIn,
      row.attempting ?? false,
    ]);
  }
}

function errorAt(reason: string, n: number): object {
  return { at: `2026-01-01T00:0${n}:00.000Z`, attempt: n + 1, reason, retryable: true };
}
