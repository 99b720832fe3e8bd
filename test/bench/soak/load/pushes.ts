// Requests to notify one user after the other. Each is told from all others by its body.

import type { Pool } from 'pg';
import type { Journeys } from '../journeys.ts';

/** Soon over, so that records of deliveries are forgotten within the run. */
const TTL_SECONDS = 60;

/** Result: one row. $1 user, $2 body. */
const EMIT = `
  select outbox.emit('push.requested',
    jsonb_build_object('user_id', $1::text, 'ttl', ${TTL_SECONDS},
                       'payload', jsonb_build_object('title', 'Soak', 'body', $2::text)),
    'user:' || $1::text)`;

export function pushLoad(pool: Pool, users: number, journeys: Journeys): () => Promise<void> {
  let sent = 0;
  return async () => {
    sent += 1;
    const body = `push ${sent}`;
    const journey = journeys.begin(body);
    try {
      await pool.query(EMIT, [`user-${sent % users}`, body]);
      journey.committed();
    } catch (error) {
      journey.abandoned();
      throw error;
    }
  };
}
