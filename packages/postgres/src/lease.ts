// Leases in the database: acquire, renew, release, ask for. All deadlines are the server's clock.
// A holder proves itself by its fencing token; what it stores elsewhere is guarded by that token, not by time.

import type { Queryable } from './queryable.ts';

export interface LeaseRequest {
  readonly name: string;
  /** For people who ask who holds it. */
  readonly holder: string;
  readonly ttlMs: number;
}

export type LeaseAttempt =
  | {
      readonly acquired: true;
      readonly token: number;
      /** The last holder let its time run out, instead of giving the lease back: it died, froze, or was cut off. */
      readonly tookOver: boolean;
    }
  | { readonly acquired: false; readonly heldBy: string; readonly expiresInMs: number };

export type LeaseRenewal =
  | { readonly renewed: true; readonly wantedBy: string | null }
  | { readonly renewed: false; readonly reason: 'fenced' };

/**
 * Result: the new token, and whether there was a holder still. $1 name, $2 holder, $3 ttl in ms. Index: lease_pkey.
 * 0 rows: somebody holds it. A lease never seen before is created; two who create it at once are serialised by the key.
 * The row is looked at once more as it was before the statement: what an update returns is only the new one.
 */
export const ACQUIRE_LEASE = `
  insert into pulsebox.lease as l (name, token, holder, expires_at)
  values ($1, 1, $2, clock_timestamp() + $3 * interval '1 millisecond')
  on conflict (name) do update
    set token = l.token + 1, holder = excluded.holder, wanted_by = null,
        expires_at = clock_timestamp() + $3 * interval '1 millisecond'
    where l.expires_at is null or l.expires_at < clock_timestamp()
       or l.holder is null and l.wanted_by = excluded.holder
  returning token::float8 as token,
            exists (select from pulsebox.lease before where before.name = $1 and before.holder is not null) as took_over`;

/** Result: who holds it and for how long yet. $1 name. Index: lease_pkey. 0 rows, or a null holder: free by now. */
const LEASE_HOLDER = `
  select holder, extract(epoch from expires_at - clock_timestamp())::float8 * 1000 as expires_in_ms
  from pulsebox.lease where name = $1 and holder is not null`;

/** Result: who wants it. $1 name, $2 token, $3 ttl in ms. Index: lease_pkey. 0 rows: another holder has it (fenced). */
export const RENEW_LEASE = `
  update pulsebox.lease set expires_at = clock_timestamp() + $3 * interval '1 millisecond'
  where name = $1 and token = $2 and holder is not null
  returning wanted_by`;

/** $1 name, $2 token. Index: lease_pkey. 0 rows: it was no longer ours to give back. */
const RELEASE_LEASE = `
  update pulsebox.lease set holder = null, expires_at = null, wanted_by = null
  where name = $1 and token = $2 and holder is not null`;

/**
 * $1 name, $2 token, $3 for how long in ms. Index: lease_pkey. 0 rows: it was no longer ours to give back.
 * Without a holder, and with an end: until then only whoever asked for it gets it.
 */
const HAND_LEASE_OVER = `
  update pulsebox.lease
  set holder = null,
      expires_at = case when wanted_by is not null then clock_timestamp() + $3 * interval '1 millisecond' end
  where name = $1 and token = $2 and holder is not null`;

/** $1 name, $2 who asks. Index: lease_pkey. 0 rows: nobody holds it, there is nobody to ask. */
const REQUEST_HANDOVER = `
  update pulsebox.lease set wanted_by = $2 where name = $1 and holder is not null`;

/** Takes the lease if it is free or its holder's time is over. */
export async function acquireLease(db: Queryable, request: LeaseRequest): Promise<LeaseAttempt> {
  const { rows } = await db.query<{ token: number; took_over: boolean }>(ACQUIRE_LEASE, [
    request.name,
    request.holder,
    request.ttlMs,
  ]);
  if (rows[0] !== undefined) return { acquired: true, token: rows[0].token, tookOver: rows[0].took_over };
  const { rows: held } = await db.query<{ holder: string; expires_in_ms: number }>(LEASE_HOLDER, [
    request.name,
  ]);
  return {
    acquired: false,
    heldBy: held[0]?.holder ?? 'nobody',
    expiresInMs: Math.max(0, held[0]?.expires_in_ms ?? 0),
  };
}

/** Extends the lease by its whole time to live, if the token is still the current one. */
export async function renewLease(
  db: Queryable,
  lease: { readonly name: string; readonly token: number; readonly ttlMs: number },
): Promise<LeaseRenewal> {
  const { rows } = await db.query<{ wanted_by: string | null }>(RENEW_LEASE, [
    lease.name,
    lease.token,
    lease.ttlMs,
  ]);
  return rows[0] === undefined
    ? { renewed: false, reason: 'fenced' }
    : { renewed: true, wantedBy: rows[0].wanted_by };
}

/** Gives the lease back, so that another need not wait for its end. False: it was lost before. */
export async function releaseLease(
  db: Queryable,
  lease: { readonly name: string; readonly token: number },
): Promise<boolean> {
  const { rowCount } = await db.query(RELEASE_LEASE, [lease.name, lease.token]);
  return rowCount === 1;
}

/**
 * Gives the lease to whoever asked for it: for so long nobody else can have it, though it has to be acquired. Without
 * one who asked it is given back. False: it was lost before.
 */
export async function handLeaseOver(
  db: Queryable,
  lease: { readonly name: string; readonly token: number; readonly forMs: number },
): Promise<boolean> {
  const { rowCount } = await db.query(HAND_LEASE_OVER, [lease.name, lease.token, lease.forMs]);
  return rowCount === 1;
}

/** Asks the holder to hand over; it learns of it at its next renewal. False: nobody holds it. */
export async function requestHandover(
  db: Queryable,
  request: { readonly name: string; readonly wantedBy: string },
): Promise<boolean> {
  const { rowCount } = await db.query(REQUEST_HANDOVER, [request.name, request.wantedBy]);
  return rowCount === 1;
}
