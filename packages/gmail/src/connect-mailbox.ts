// Adds a mailbox for a user, or gives one that is known a new grant.

import { emit } from '@pulsebox/outbox';
import { transaction } from '@pulsebox/postgres';
import { parseProfile } from './gmail-answers.ts';
import { sendToGoogle } from './google-request.ts';
import type { Mail } from './mail.ts';
import { mailChanged } from './mail-events.ts';
import { refreshTokens } from './oauth.ts';
import type { Tokens } from './oauth.ts';
import { GmailError } from './gmail-error.ts';

export interface ConnectMailboxOptions {
  readonly userId: string;
  readonly orgId: string;
  /** What the exchange of a code brought, or a refresh token of the same OAuth client. */
  readonly grant: Tokens | { readonly refreshToken: string };
  /** Whether the user is told of new mail. Default true. */
  readonly notify?: boolean;
  readonly signal: AbortSignal;
}

export interface ConnectedMailbox {
  readonly connectionId: string;
  readonly email: string;
  /** Whether this user had connected the address before. */
  readonly known: boolean;
}

/** Result: the connection of this user and address, if any. $1 org, $2 user, $3 address. Index: mail_connection_user. */
const LOCK_CONNECTION = `
  select connection_id from app.mail_connections
  where org_id = $1 and user_id = $2 and lower(email) = lower($3) for update`;

/** Result: an id for a row whose tokens are bound to it before it is written. */
const MAKE_ID = `select gen_random_uuid() as connection_id`;

/**
 * $1 id, $2 user, $3 org, $4 address, $5 refresh token, $6 access token, $7 its milliseconds, $8 scopes, $9 notify.
 * Index: the key. What was read stays read; the watch is registered anew.
 */
const STORE_CONNECTION = `
  insert into app.mail_connections as c
    (connection_id, user_id, org_id, email, refresh_token, access_token, access_token_expires_at, scopes, notify)
  values ($1, $2, $3, $4, $5, $6, now() + $7 * interval '1 millisecond', $8, $9)
  on conflict (connection_id) do update
    set email = excluded.email, refresh_token = excluded.refresh_token, access_token = excluded.access_token,
        access_token_expires_at = excluded.access_token_expires_at, scopes = excluded.scopes,
        notify = excluded.notify, state = 'active', state_reason = null, last_error = null, last_error_at = null,
        watch_expires_at = null, watch_error = null, updated_at = now()`;

/**
 * Asks Google whose mailbox it is, so that an address is never mistyped, stores the grant encrypted, and has the mailbox
 * synced: `mail.changed` in the same transaction.
 *
 * @throws GMAIL_GRANT_REVOKED when Google does not take the grant; GMAIL_AWAY; GMAIL_CLIENT_REFUSED
 */
export async function connectMailbox(mail: Mail, options: ConnectMailboxOptions): Promise<ConnectedMailbox> {
  const { userId, orgId, grant, notify = true, signal } = options;
  const tokens = 'accessToken' in grant ? grant : await refreshTokens(mail.oauth, grant.refreshToken, signal);
  const refreshToken = tokens.refreshToken ?? grant.refreshToken;
  if (refreshToken === undefined) {
    throw new GmailError('GMAIL_GRANT_REVOKED', 'Google handed out no refresh token with this grant', {
      hint: "take this application's access away at https://myaccount.google.com/permissions, and grant it again",
    });
  }
  const profile = parseProfile(
    await sendToGoogle(
      {
        doing: 'asking whose mailbox it is',
        method: 'GET',
        url: new URL('gmail/v1/users/me/profile', mail.api.baseUrl),
        accessToken: tokens.accessToken,
        signal,
      },
      mail.api.transport,
    ),
  );
  return await transaction(mail.pool, async (client) => {
    const { rows: known } = await client.query<{ connection_id: string }>(LOCK_CONNECTION, [
      orgId,
      userId,
      profile.email,
    ]);
    const { rows: made } = await client.query<{ connection_id: string }>(MAKE_ID);
    const connectionId = known[0]?.connection_id ?? made[0]?.connection_id ?? '';
    await client.query(STORE_CONNECTION, [
      connectionId,
      userId,
      orgId,
      profile.email,
      mail.vault.seal(refreshToken, { column: 'refresh_token', connectionId }),
      mail.vault.seal(tokens.accessToken, { column: 'access_token', connectionId }),
      tokens.expiresInMs,
      tokens.scopes ?? [],
      notify,
    ]);
    await emit(client, mailChanged({ connectionId }));
    return { connectionId, email: profile.email, known: known.length > 0 };
  });
}
