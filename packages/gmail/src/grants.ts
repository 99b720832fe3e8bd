// Access tokens of connected mailboxes: kept until they run out, fetched once however many ask at the same time.

import type { Queryable } from '@pulsebox/postgres';
import { GmailError, isGmailError } from './gmail-error.ts';
import { refreshTokens } from './oauth.ts';
import type { OAuthClient } from './oauth.ts';
import type { TokenVault } from './token-vault.ts';

export interface Grants {
  /** A token that is good for a minute yet. @throws GmailError */
  accessToken(connectionId: string, signal: AbortSignal): Promise<string>;
  /** Google refused `refused` before its time: another one. @throws GmailError */
  replaceAccessToken(connectionId: string, refused: string, signal: AbortSignal): Promise<string>;
}

/**
 * Result: the tokens of a mailbox; `fresh`: the access token is good for a minute yet. $1 connection. Index: the key.
 * 0 rows: it is not active, or gone.
 */
const SELECT_TOKENS = `
  select refresh_token, access_token,
         access_token_expires_at > now() + interval '1 minute' as fresh
  from app.mail_connections where connection_id = $1 and state = 'active'`;

/**
 * $1 connection, $2 the refresh token that was used, $3 access token, $4 its milliseconds, $5 new refresh token or null,
 * $6 scopes or null. Index: the key. 0 rows: the mailbox was connected anew meanwhile; its tokens stay.
 */
const STORE_TOKENS = `
  update app.mail_connections
  set access_token = $3, access_token_expires_at = now() + $4 * interval '1 millisecond',
      refresh_token = coalesce($5, refresh_token), scopes = coalesce($6, scopes), updated_at = now()
  where connection_id = $1 and refresh_token = $2`;

/**
 * $1 connection, $2 the refresh token that is good no longer, null: whichever; $3 why. Index: the key.
 * 0 rows: the mailbox was connected anew meanwhile.
 */
const MARK_REVOKED = `
  update app.mail_connections
  set state = 'revoked', state_reason = $3, access_token = null, access_token_expires_at = null,
      last_error = $3, last_error_at = now(), updated_at = now()
  where connection_id = $1 and state = 'active' and ($2::text is null or refresh_token = $2)`;

export interface GrantsOptions {
  readonly db: Queryable;
  readonly vault: TokenVault;
  readonly oauth: OAuthClient;
}

export function createGrants({ db, vault, oauth }: GrantsOptions): Grants {
  const fetching = new Map<string, Promise<string>>();

  async function fetchToken(connectionId: string, refused: string | undefined): Promise<string> {
    const { rows } = await db.query<{ refresh_token: string; access_token: string | null; fresh: boolean }>(
      SELECT_TOKENS,
      [connectionId],
    );
    const [row] = rows;
    if (row === undefined) throw inactive(connectionId);
    if (row.access_token !== null && row.fresh) {
      const known = openedOrUndefined(vault, row.access_token, connectionId);
      // One that another process has fetched since is as good as one of our own.
      if (known !== undefined && known !== refused) return known;
    }
    const place = { column: 'refresh_token', connectionId } as const;
    // No caller's signal: others wait for the same answer. The transport has a deadline.
    const signal = new AbortController().signal;
    try {
      const tokens = await refreshTokens(oauth, vault.open(row.refresh_token, place), signal);
      await db.query(STORE_TOKENS, [
        connectionId,
        row.refresh_token,
        vault.seal(tokens.accessToken, { column: 'access_token', connectionId }),
        tokens.expiresInMs,
        tokens.refreshToken === undefined ? null : vault.seal(tokens.refreshToken, place),
        tokens.scopes ?? null,
      ]);
      return tokens.accessToken;
    } catch (error) {
      if (isGmailError(error, 'GMAIL_GRANT_REVOKED'))
        await db.query(MARK_REVOKED, [connectionId, row.refresh_token, error.message]);
      throw error;
    }
  }

  async function once(
    connectionId: string,
    refused: string | undefined,
    signal: AbortSignal,
  ): Promise<string> {
    signal.throwIfAborted();
    const running = fetching.get(connectionId);
    if (running !== undefined) {
      const token = await running;
      // It began before the token was refused, and may have found the same one.
      return token === refused ? await once(connectionId, refused, signal) : token;
    }
    const started = fetchToken(connectionId, refused).finally(() => fetching.delete(connectionId));
    fetching.set(connectionId, started);
    return await started;
  }

  return {
    accessToken: (connectionId, signal) => once(connectionId, undefined, signal),
    replaceAccessToken: (connectionId, refused, signal) => once(connectionId, refused, signal),
  };
}

/** Google takes the grant of a mailbox no longer, for a reason that a person understands: it is left alone from now on. */
export async function markRevoked(db: Queryable, connectionId: string, reason: string): Promise<void> {
  await db.query(MARK_REVOKED, [connectionId, null, reason]);
}

function inactive(connectionId: string): GmailError {
  return new GmailError('GMAIL_GRANT_REVOKED', `the mailbox ${connectionId} is not connected any more`, {
    hint: 'connect it again with `pulsebox mail connect`',
  });
}

/** One that cannot be read is no loss: another is fetched. */
function openedOrUndefined(vault: TokenVault, sealed: string, connectionId: string): string | undefined {
  try {
    return vault.open(sealed, { column: 'access_token', connectionId });
  } catch (error) {
    if (isGmailError(error)) return undefined;
    throw error;
  }
}
