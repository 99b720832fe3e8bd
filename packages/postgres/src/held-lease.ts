// A lease that is held: renewed every third of its time, and given up in time when that fails.

import { PostgresError } from './postgres-error.ts';
import type { LeaseRequest } from './lease.ts';
import { handLeaseOver, releaseLease, renewLease } from './lease.ts';
import type { Queryable } from './queryable.ts';

export interface HeldLeaseEvents {
  /** Renewal failed for a reason that may pass (the database is away). The lease still runs. */
  readonly onRenewalError?: (error: unknown) => void;
  /** Somebody asks for the lease: finish the batch and release. */
  readonly onWanted?: (wantedBy: string) => void;
}

export interface HeldLease {
  readonly name: string;
  /** The fencing token: every write that depends on the lease carries it. */
  readonly token: number;
  /** Aborted before anybody else can have the lease: its time is nearly over, or it is fenced. */
  readonly signal: AbortSignal;
  readonly wantedBy: string | null;
  /** Renews at once, for instance on a hint that somebody wants it. Never throws. */
  renewNow(): Promise<void>;
  /**
   * Stops renewing and gives the lease back. Idempotent; safe when it is lost already: the token guards it. One that
   * ran out here may still run on the server, and is given back too, so that nobody has to wait for its end.
   * `reserveForMs`: for so long, only whoever asked for it can have it.
   */
  release(reserveForMs?: number): Promise<void>;
}

/**
 * Keeps a lease that `acquireLease` granted. `requestedAtMs` is `performance.now()` from before the request was sent:
 * the server's deadline can only be later than that plus the time to live, so the local clock errs on the safe side.
 */
export function holdLease(
  db: Queryable,
  lease: LeaseRequest & { readonly token: number; readonly requestedAtMs: number },
  events: HeldLeaseEvents = {},
): HeldLease {
  const { name, token, ttlMs } = lease;
  // A tenth of the time is kept back for handlers to hear their abort and stop.
  const usableMs = ttlMs * 0.9;
  const controller = new AbortController();
  let wantedBy: string | null = null;
  let released = false;
  let fenced = false;
  let renewing: Promise<void> | undefined;
  let expiry = setTimeout(expire, untilExpiryMs(lease.requestedAtMs));
  const renewal = setInterval(() => void renewNow(), ttlMs / 3);

  function untilExpiryMs(fromMs: number): number {
    return Math.max(0, fromMs + usableMs - performance.now());
  }

  function expire(): void {
    lose(`lease ${name} could not be renewed in time`);
  }

  function lose(message: string): void {
    halt();
    controller.abort(
      new PostgresError('POSTGRES_LEASE_EXPIRED', message, {
        hint: 'another worker may hold it by now; nothing more is stored under this one',
      }),
    );
  }

  function halt(): void {
    clearTimeout(expiry);
    clearInterval(renewal);
  }

  function renewNow(): Promise<void> {
    renewing ??= renewOnce().finally(() => {
      renewing = undefined;
    });
    return renewing;
  }

  async function renewOnce(): Promise<void> {
    if (released || controller.signal.aborted) return;
    const sentAtMs = performance.now();
    try {
      const outcome = await renewLease(db, { name, token, ttlMs });
      if (released || controller.signal.aborted) return;
      if (!outcome.renewed) {
        fenced = true;
        lose(`lease ${name} was taken over by another holder`);
        return;
      }
      clearTimeout(expiry);
      expiry = setTimeout(expire, untilExpiryMs(sentAtMs));
      if (outcome.wantedBy !== null && outcome.wantedBy !== wantedBy) events.onWanted?.(outcome.wantedBy);
      wantedBy = outcome.wantedBy;
    } catch (error) {
      events.onRenewalError?.(error);
    }
  }

  return {
    name,
    token,
    signal: controller.signal,
    get wantedBy(): string | null {
      return wantedBy;
    },
    renewNow,
    async release(reserveForMs): Promise<void> {
      if (released) return;
      released = true;
      halt();
      await renewing;
      if (fenced) return;
      if (reserveForMs === undefined) await releaseLease(db, { name, token });
      else await handLeaseOver(db, { name, token, forMs: reserveForMs });
    },
  };
}
