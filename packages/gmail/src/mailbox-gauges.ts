// Gauges of all mailboxes, set by one process of all, so that a sum over processes counts each mailbox once.

import type { Loop } from '@pulsebox/loop';
import { candidacy } from '@pulsebox/postgres';
import type { Pool } from 'pg';
import { mailConnectionStates } from './connections.ts';
import type { GmailMetrics } from './gmail-metrics.ts';

export interface MailboxGaugesOptions {
  readonly pool: Pool;
  readonly metrics: GmailMetrics;
  /** For people who ask who sets them. */
  readonly holder: string;
  /** How often they are set, in milliseconds. Default 15,000. */
  readonly everyMs?: number;
  /** False: no mailbox is to be watched, and none is missed as unwatched. Default true. */
  readonly watching?: boolean;
}

/**
 * Result: a row for each state that there is. Of active mailboxes: seconds until the first watch expires, how many have
 * no watch that is good, and how long ago the one was synced that waits longest. Reads the table.
 */
const COUNT_MAILBOXES = `
  select state, count(*)::integer as count,
         extract(epoch from min(watch_expires_at) - now())::float8 as expires_in_seconds,
         (count(*) filter (where watch_expires_at is null or watch_expires_at < now()))::integer as unwatched,
         extract(epoch from now() - min(greatest(last_synced_at, created_at)))::float8 as oldest_sync_seconds
  from app.mail_connections group by state`;

const LEASE = 'mail/exporter';

/** The process that holds the lease sets them; when it stops or loses it, its series are gone and another has them. */
export function mailboxGauges(options: MailboxGaugesOptions): Loop {
  const { pool, metrics, holder, everyMs = 15_000, watching = true } = options;
  const election = candidacy({ name: LEASE, holder, ttlMs: 3 * everyMs });

  function clear(): void {
    for (const gauge of [metrics.watchExpiry, metrics.unwatched, metrics.oldestSync]) gauge.remove();
    for (const state of mailConnectionStates) metrics.connections.remove({ state });
  }

  async function set(): Promise<void> {
    const { rows } = await pool.query<{
      state: string;
      count: number;
      expires_in_seconds: number | null;
      unwatched: number;
      oldest_sync_seconds: number | null;
    }>(COUNT_MAILBOXES);
    for (const state of mailConnectionStates)
      metrics.connections.set({ state }, rows.find((row) => row.state === state)?.count ?? 0);
    const active = rows.find((row) => row.state === 'active');
    metrics.unwatched.set(watching ? (active?.unwatched ?? 0) : 0);
    metrics.oldestSync.set(active?.oldest_sync_seconds ?? 0);
    if (typeof active?.expires_in_seconds === 'number') metrics.watchExpiry.set(active.expires_in_seconds);
    else metrics.watchExpiry.remove();
  }

  clear();
  return {
    name: 'mail-gauges',
    cadenceMs: everyMs,
    async tick() {
      try {
        if (await election.isElected(pool)) await set();
        else clear();
      } catch (error) {
        clear();
        throw error;
      }
      return undefined;
    },
    async stop(): Promise<void> {
      clear();
      await election.resign(pool);
    },
  };
}
