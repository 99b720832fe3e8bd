// Encrypts every token anew under the active key, so that an old key can be thrown away.

import { transaction } from '@pulsebox/postgres';
import type { Pool, PoolClient } from 'pg';
import { isGmailError } from './gmail-error.ts';
import type { TokenVault } from './token-vault.ts';

export interface RotateKeysOptions {
  readonly pool: Pool;
  readonly vault: TokenVault;
  /** How many mailboxes one transaction takes. Default 500. */
  readonly chunk?: number;
  readonly signal?: AbortSignal;
  /** Told after each transaction. */
  readonly onProgress?: (soFar: RotateKeysReport) => void;
}

export interface RotateKeysReport {
  /** Mailboxes whose tokens are under the active key by now, and were not before. */
  readonly rotated: number;
  /** Mailboxes whose tokens no key of the keyring opens: their ids, and why. */
  readonly unreadable: readonly { readonly connectionId: string; readonly reason: string }[];
}

/**
 * Locks a page of mailboxes that have a token under another key, by id. $1 the id that the page comes after, $2 the
 * active key, $3 page size. Index: the key; it reads all of the table once. 0 rows: there are none left.
 */
const LOCK_OUTDATED = `
  select connection_id, refresh_token, access_token
  from app.mail_connections
  where connection_id > $1
    and (split_part(refresh_token, '.', 2) <> $2 or split_part(access_token, '.', 2) <> $2)
  order by connection_id limit $3
  for no key update`;

/** $1 connections, $2 refresh tokens, $3 access tokens. Index: the key. */
const STORE_TOKENS = `
  update app.mail_connections c
  set refresh_token = made.refresh_token, access_token = made.access_token, updated_at = now()
  from unnest($1::uuid[], $2::text[], $3::text[]) as made(connection_id, refresh_token, access_token)
  where c.connection_id = made.connection_id`;

const BEFORE_ALL = '00000000-0000-0000-0000-000000000000';

/**
 * In transactions of a few hundred rows, while workers go on: they read under either key. What is interrupted may be
 * run again and goes on with what is left. An access token that cannot be read is dropped: a new one is fetched.
 */
export async function rotateKeys(options: RotateKeysOptions): Promise<RotateKeysReport> {
  const { pool, chunk = 500, signal, onProgress } = options;
  let rotated = 0;
  const unreadable: { connectionId: string; reason: string }[] = [];
  let after: string | undefined = BEFORE_ALL;
  while (after !== undefined) {
    signal?.throwIfAborted();
    const from: string = after;
    const page = await transaction(pool, (client) => rotatePage(client, options.vault, { from, chunk }));
    rotated += page.rotated;
    unreadable.push(...page.unreadable);
    after = page.last;
    onProgress?.({ rotated, unreadable });
  }
  return { rotated, unreadable };
}

interface Page extends RotateKeysReport {
  readonly last: string | undefined;
}

async function rotatePage(
  client: PoolClient,
  vault: TokenVault,
  { from, chunk }: { readonly from: string; readonly chunk: number },
): Promise<Page> {
  const { rows } = await client.query<{
    connection_id: string;
    refresh_token: string;
    access_token: string | null;
  }>(LOCK_OUTDATED, [from, vault.activeKeyId, chunk]);
  const made: { connectionId: string; refreshToken: string; accessToken: string | null }[] = [];
  const unreadable: { connectionId: string; reason: string }[] = [];
  for (const row of rows) {
    const connectionId = row.connection_id;
    const refresh = { column: 'refresh_token', connectionId } as const;
    try {
      made.push({
        connectionId,
        refreshToken: vault.seal(vault.open(row.refresh_token, refresh), refresh),
        accessToken: resealed(vault, row.access_token, connectionId),
      });
    } catch (error) {
      if (!isGmailError(error)) throw error;
      unreadable.push({ connectionId, reason: error.message });
    }
  }
  await client.query(STORE_TOKENS, [
    made.map((row) => row.connectionId),
    made.map((row) => row.refreshToken),
    made.map((row) => row.accessToken),
  ]);
  return { rotated: made.length, unreadable, last: rows.at(-1)?.connection_id };
}

function resealed(vault: TokenVault, sealed: string | null, connectionId: string): string | null {
  const place = { column: 'access_token', connectionId } as const;
  if (sealed === null) return null;
  try {
    return vault.seal(vault.open(sealed, place), place);
  } catch (error) {
    if (isGmailError(error)) return null;
    throw error;
  }
}
