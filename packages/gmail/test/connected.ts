// Rows that the tests start from.

import type { Pool } from 'pg';

export interface ConnectedOptions {
  readonly email?: string;
  readonly userId?: string;
  readonly orgId?: string;
  readonly historyId?: bigint;
}

/** A connection whose tokens nobody can read; returns its id. */
export async function connected(pool: Pool, options: ConnectedOptions = {}): Promise<string> {
  const { email = 'ada@example.com', userId = 'ada', orgId = 'acme', historyId } = options;
  const { rows } = await pool.query<{ connection_id: string }>(
    `insert into app.mail_connections (user_id, org_id, email, refresh_token, history_id)
     values ($1, $2, $3, 'v1.none', $4) returning connection_id`,
    [userId, orgId, email, historyId?.toString()],
  );
  return rows[0]!.connection_id;
}

export interface EmittedEvent {
  readonly topic: string;
  readonly key: string | null;
  readonly payload: Readonly<Record<string, unknown>>;
}

/** Every event of the log, in its order. */
export async function emitted(pool: Pool, topic?: string): Promise<EmittedEvent[]> {
  const { rows } = await pool.query<EmittedEvent>(
    'select topic, key, payload from outbox.event where $1::text is null or topic = $1 order by seq',
    [topic],
  );
  return rows;
}
