// From users to their subscriptions: all users of a batch in one query, everybody in pages.

import type { Queryable } from '@pulsebox/postgres';
import { expiryOf } from './delivery.ts';
import type { Delivery } from './delivery.ts';
import type { PushRequest } from './push-request.ts';

/**
 * Result: what is to be sent for each (event, user), but for what became of it before; and the time.
 * $1 positions, $2 users, $3 and $4 the position and subscription that they come after, $5 how many.
 * Indexes: push_subscription_user, delivery_pkey. Fewer rows than asked for: there are no more.
 */
export const SELECT_DELIVERIES = `
  select r.position::float8 as position, s.subscription_id::float8 as subscription_id, s.endpoint, s.p256dh, s.auth,
         extract(epoch from clock_timestamp())::float8 * 1000 as now_ms
  from unnest($1::bigint[], $2::text[]) as r(position, user_id)
  -- By user, in the order of its index: a join would read the whole table for a large batch.
  cross join lateral (
    select s.subscription_id, s.endpoint, s.p256dh, s.auth
    from app.push_subscriptions s
    where s.user_id = r.user_id
      -- A user who subscribes without end is not gone through from the start for each page.
      and s.subscription_id > case when r.position = $3::bigint then $4::bigint else 0 end
      and not exists (
        select from push.delivery d
        where d.position = r.position and d.subscription_id = s.subscription_id and d.outcome <> 'rejected')
    order by s.subscription_id
    limit $5) s
  where r.position >= $3::bigint
  order by r.position, s.subscription_id
  limit $5`;

/**
 * Result: subscriptions that the broadcast has not been through yet, and the time. $1 position, $2 the id that they
 * come after, $3 how many, $4 whether those whose service refused it are tried again. Indexes: push_subscriptions_pkey, delivery_pkey. 0 rows: there are no more.
 */
export const SELECT_EVERYBODY = `
  select s.subscription_id::float8 as subscription_id, s.endpoint, s.p256dh, s.auth,
         extract(epoch from clock_timestamp())::float8 * 1000 as now_ms
  from app.push_subscriptions s
  where s.subscription_id > $2
    and not exists (
      select from push.delivery d
      where d.position = $1 and d.subscription_id = s.subscription_id and not ($4 and d.outcome = 'rejected'))
  order by s.subscription_id
  limit $3`;

interface SubscriptionRow {
  readonly subscription_id: number;
  readonly endpoint: string;
  readonly p256dh: string;
  readonly auth: string;
  readonly now_ms: number;
}

export interface DeliveryPage {
  readonly deliveries: readonly Delivery[];
  /** The database's time, in milliseconds since 1970, when the page was read. */
  readonly nowMs: number;
}

/**
 * So much of a batch is in memory at a time: a batch is a query, unless its users have this many subscriptions. Below
 * it nobody notices; above it, a user who subscribes without end fills no memory.
 */
const PAGE = 5_000;

/** In the order of the events. A batch whose users have no subscriptions yields nothing. */
export async function* fanOut(db: Queryable, requests: readonly PushRequest[]): AsyncGenerator<DeliveryPage> {
  const byPosition = new Map(requests.map((request) => [request.position, request]));
  const positions = requests.map(({ position }) => position);
  const users = requests.map(({ userId }) => userId);
  let after: readonly [number, number] = [0, 0];
  for (;;) {
    const { rows } = await db.query<SubscriptionRow & { position: number }>(SELECT_DELIVERIES, [
      positions,
      users,
      ...after,
      PAGE,
    ]);
    const last = rows.at(-1);
    if (last === undefined) return;
    const deliveries = rows.flatMap((row) => {
      const request = byPosition.get(row.position);
      return request === undefined ? [] : [deliveryOf(row, request)];
    });
    yield { deliveries, nowMs: last.now_ms };
    if (rows.length < PAGE) return;
    after = [last.position, last.subscription_id];
  }
}

/** @param page how many are read at once */
export async function* fanOutToEverybody(
  db: Queryable,
  request: PushRequest & { readonly userId: null },
  page: number,
): AsyncGenerator<DeliveryPage> {
  let after = 0;
  for (;;) {
    const { rows } = await db.query<SubscriptionRow>(SELECT_EVERYBODY, [
      request.position,
      after,
      page,
      request.replay !== undefined,
    ]);
    const last = rows.at(-1);
    if (last === undefined) return;
    yield { deliveries: rows.map((row) => deliveryOf(row, request)), nowMs: last.now_ms };
    after = last.subscription_id;
  }
}

function deliveryOf(row: SubscriptionRow, request: PushRequest): Delivery {
  const { position, userId, message, createdAtMs } = request;
  const { subscription_id: subscriptionId, endpoint, p256dh, auth } = row;
  const expiresAtMs = expiryOf(createdAtMs, message);
  return {
    position,
    userId,
    createdAtMs,
    subscriptionId,
    subscription: { endpoint, p256dh, auth },
    message,
    expiresAtMs,
    attempt: 1,
  };
}
