// What one of several processes does, such as setting gauges that are summed over all: whoever has the lease.

import { acquireLease, releaseLease, renewLease } from './lease.ts';
import type { LeaseRequest } from './lease.ts';
import type { Queryable } from './queryable.ts';

export interface Candidacy {
  /** Takes the lease, or keeps it for another `ttlMs`. Ask at every turn, several times in `ttlMs`. */
  isElected(db: Queryable): Promise<boolean>;
  /** Gives the lease back. A database that is away is no error: the lease ends by itself. Idempotent. */
  resign(db: Queryable): Promise<void>;
}

/**
 * One who freezes past its time finds out when it asks next: for that long two may do it. What must not be done twice
 * wants a fencing token as well (`acquireLease`).
 */
export function candidacy(request: LeaseRequest): Candidacy {
  const { name, ttlMs } = request;
  let token: number | undefined;
  return {
    async isElected(db): Promise<boolean> {
      if (token !== undefined && (await renewLease(db, { name, token, ttlMs })).renewed) return true;
      const attempt = await acquireLease(db, request);
      token = attempt.acquired ? attempt.token : undefined;
      return attempt.acquired;
    },
    async resign(db): Promise<void> {
      const held = token;
      token = undefined;
      if (held !== undefined) await releaseLease(db, { name, token: held }).catch(() => undefined);
    },
  };
}
