// Subscriptions in the database: what a page hands over, and what an operator looks at. docs: packages/push/README.md.

import { createECDH } from 'node:crypto';
import type { Queryable } from '@pulsebox/postgres';
import { LONGEST_USER_ID_BYTES } from './push-request.ts';
import { parseEndpoint } from './endpoint.ts';
import type { EndpointPolicy } from './endpoint.ts';
import { PushError } from './push-error.ts';
import type { SubscriptionKeys } from './sender.ts';

export interface NewSubscription extends SubscriptionKeys {
  readonly userId: string;
  readonly userAgent?: string | undefined;
}

/** For people: an endpoint is shown by its origin only, keys not at all. */
export interface SubscriptionSummary {
  readonly subscriptionId: number;
  readonly userId: string;
  readonly origin: string;
  readonly userAgent: string | null;
  readonly createdAt: string;
  /** Exact to the hour. */
  readonly lastSuccessAt: string | null;
  readonly failureCount: number;
}

export interface ListSubscriptionsOptions {
  /** Default: those of all users. */
  readonly userId?: string | undefined;
  /** Only those that failed since their last success. Default false. */
  readonly failing?: boolean | undefined;
  /** Behind this id. Default: from the first on. */
  readonly after?: number | undefined;
  readonly limit: number;
}

/** Result: the id. $1 user, $2 endpoint, $3 p256dh, $4 auth, $5 user agent. Index: the key of the endpoint. */
const SUBSCRIBE = `select app.push_subscribe($1, $2, $3, $4, $5)::float8 as subscription_id`;

/** $1 endpoint. Index: the key of the endpoint. 0 rows: it is not there any more. */
const UNSUBSCRIBE = `delete from app.push_subscriptions where endpoint = $1`;

/**
 * Result: one row a subscription. $1 user or null, $2 only failing ones, $3 the id they come after, $4 how many.
 * Index: push_subscription_user, or push_subscriptions_pkey for all users.
 */
const LIST = `
  select subscription_id::float8 as "subscriptionId", user_id as "userId",
         substring(endpoint from '^https://[^/?#]+') as origin, user_agent as "userAgent",
         to_json(created_at) #>> '{}' as "createdAt", to_json(last_success_at) #>> '{}' as "lastSuccessAt",
         failure_count as "failureCount"
  from app.push_subscriptions
  where ($1::text is null or user_id = $1) and (not $2 or failure_count > 0) and subscription_id > $3
  order by subscription_id limit $4`;

/** Result: how many. $1 user. Index: push_subscription_user, alone. Always one row. */
const COUNT = `select count(*)::float8 as subscriptions from app.push_subscriptions where user_id = $1`;

/**
 * Stores the subscription of a browser, or brings the keys of one that is there up to date. Result: its id.
 *
 * @throws PUSH_SUBSCRIPTION_INVALID, PUSH_ENDPOINT_FORBIDDEN
 */
export async function subscribe(
  db: Queryable,
  subscription: NewSubscription,
  policy: EndpointPolicy = {},
): Promise<number> {
  const { userId, endpoint, userAgent } = subscription;
  if (userId === '') throw invalid('a user', 'an empty text');
  if (Buffer.byteLength(userId) > LONGEST_USER_ID_BYTES)
    throw invalid(`a user of at most ${LONGEST_USER_ID_BYTES} bytes`, String(Buffer.byteLength(userId)));
  parseEndpoint(endpoint, policy);
  const p256dh = decoded(subscription.p256dh, 65, 'p256dh');
  const auth = decoded(subscription.auth, 16, 'auth');
  assertPoint(p256dh);
  const values = [
    userId,
    endpoint,
    p256dh.toString('base64url'),
    auth.toString('base64url'),
    userAgent?.slice(0, LONGEST_USER_AGENT) ?? null,
  ];
  const { rows } = await db.query<{ subscription_id: number }>(SUBSCRIBE, values);
  return rows[0]?.subscription_id ?? Number.NaN;
}

/** False: it was not there. */
export async function unsubscribe(db: Queryable, endpoint: string): Promise<boolean> {
  const { rowCount } = await db.query(UNSUBSCRIBE, [endpoint]);
  return rowCount === 1;
}

export async function listSubscriptions(
  db: Queryable,
  { userId, failing = false, after = 0, limit }: ListSubscriptionsOptions,
): Promise<SubscriptionSummary[]> {
  const { rows } = await db.query<SubscriptionSummary>(LIST, [userId ?? null, failing, after, limit]);
  return rows;
}

export async function countSubscriptions(db: Queryable, userId: string): Promise<number> {
  const { rows } = await db.query<{ subscriptions: number }>(COUNT, [userId]);
  return rows[0]?.subscriptions ?? 0;
}

/** For people, who do not read more. Of characters that take three bytes it is as much as the table has. */
const LONGEST_USER_AGENT = 333;

function decoded(text: string, bytes: number, name: string): Buffer {
  const isBase64 = /^[A-Za-z0-9_+/-]+={0,2}$/.test(text);
  // Of either alphabet.
  const buffer = isBase64 ? Buffer.from(text, 'base64url') : Buffer.alloc(0);
  if (buffer.length === bytes) return buffer;
  throw invalid(`${name} to be ${bytes} bytes in base64url`, `${text.length} characters that are not`);
}

/** A public key that is no point of the curve would fail at every message. */
function assertPoint(publicKey: Buffer): void {
  try {
    // Of the ways to write a point down, browsers and RFC 8291 have the uncompressed one.
    if (publicKey[0] !== 4) throw new Error('another way');
    const pair = createECDH('prime256v1');
    pair.generateKeys();
    pair.computeSecret(publicKey);
  } catch {
    throw invalid('p256dh to be a point of P-256', 'something else');
  }
}

function invalid(expected: string, got: string): PushError {
  return new PushError('PUSH_SUBSCRIPTION_INVALID', `expected ${expected}, got ${got}`, {
    hint: 'hand on endpoint, keys.p256dh and keys.auth of PushSubscription.toJSON() as they are',
  });
}
