// One sync of a mailbox at a time, in all processes: a lease for each, and a fence in every transaction under it.

import { setTimeout as delay } from 'node:timers/promises';
import { acquireLease, holdLease } from '@pulsebox/postgres';
import type { Queryable } from '@pulsebox/postgres';
import type { PoolClient } from 'pg';
import { GmailError } from './gmail-error.ts';

export interface MailboxLease {
  readonly name: string;
  readonly token: number;
  /** Aborted before anybody else can have the mailbox, and when the work is to stop anyway. */
  readonly signal: AbortSignal;
}

export interface MailboxLeaseOptions {
  readonly db: Queryable;
  readonly connectionId: string;
  /** For people who ask who holds it. */
  readonly holder: string;
  /** How long the mailbox waits when its holder dies. */
  readonly ttlMs: number;
  readonly signal: AbortSignal;
  /** Called while it waits for another holder. */
  readonly progress: () => void;
}

/**
 * Held until the transaction ends, so that a take-over waits for it. $1 lease, $2 token. Index: lease_pkey.
 * 0 rows: another holder has the mailbox.
 */
const HOLD_LEASE = `select from pulsebox.lease where name = $1 and token = $2 for share`;

const LONGEST_REST_MS = 500;

/** Waits for the mailbox, works on it, and gives it back. @throws the signal's reason, and what `work` throws */
export async function withMailboxLease<T>(
  options: MailboxLeaseOptions,
  work: (lease: MailboxLease) => Promise<T>,
): Promise<T> {
  const { db, connectionId, holder, ttlMs, signal, progress } = options;
  const name = `mail/sync/${connectionId}`;
  for (;;) {
    signal.throwIfAborted();
    const requestedAtMs = performance.now();
    const attempt = await acquireLease(db, { name, holder, ttlMs });
    if (attempt.acquired) {
      const held = holdLease(db, { name, holder, ttlMs, token: attempt.token, requestedAtMs });
      try {
        return await work({ name, token: held.token, signal: AbortSignal.any([signal, held.signal]) });
      } catch (error) {
        throw held.signal.aborted && !signal.aborted ? fenced(name, error) : error;
      } finally {
        await held.release();
      }
    }
    const restMs = Math.min(LONGEST_REST_MS, Math.max(attempt.expiresInMs, 10));
    await delay(restMs, undefined, { signal }).catch(() => signal.throwIfAborted());
    progress();
  }
}

/** First in every transaction that writes to a mailbox. @throws GMAIL_SYNC_FENCED */
export async function assertHeld(client: PoolClient, { name, token }: MailboxLease): Promise<void> {
  const { rowCount } = await client.query(HOLD_LEASE, [name, token]);
  if (rowCount !== 1) throw fenced(name);
}

function fenced(name: string, cause?: unknown): GmailError {
  return new GmailError('GMAIL_SYNC_FENCED', `the lease ${name} was lost: nothing more is stored under it`, {
    hint: 'whoever holds it now syncs the same mailbox; frequent losses mean that this machine is too slow',
    cause,
  });
}
