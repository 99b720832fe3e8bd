// OAuth 2.0 with Google: where a person grants access, the exchange of the code for tokens, and new access tokens.

import { createHash } from 'node:crypto';
import { GmailError } from './gmail-error.ts';
import { tokenFault } from './google-fault.ts';
import { sendToGoogle } from './google-request.ts';
import type { GoogleTransport } from './google-request.ts';

export interface OAuthClient {
  readonly clientId: string;
  readonly clientSecret: string;
  /** Where people grant access. */
  readonly consentUrl: URL;
  /** Where tokens are handed out. */
  readonly tokenUrl: URL;
  readonly transport: GoogleTransport;
}

export interface Tokens {
  readonly accessToken: string;
  /** Milliseconds for which the access token is good. */
  readonly expiresInMs: number;
  /** Google hands it out with the first grant; later only when it replaces it. */
  readonly refreshToken: string | undefined;
  /** Undefined: Google did not say, it is what it was. */
  readonly scopes: readonly string[] | undefined;
}

export interface Consent {
  /** Where Google sends the person's browser with the code. */
  readonly redirectUri: string;
  /** Comes back with the code, so that nobody can slip in one of another session. */
  readonly state: string;
  /** A secret of this attempt: its hash is sent first, itself with the code (PKCE). */
  readonly codeVerifier: string;
}

/** Reading is all that we ever ask for: with this scope nothing in a mailbox can be changed. */
export const READ_SCOPE = 'https://www.googleapis.com/auth/gmail.readonly';

/** Scopes that let the text of messages be read, besides their metadata. */
const TEXT_SCOPES: ReadonlySet<string> = new Set([
  READ_SCOPE,
  'https://www.googleapis.com/auth/gmail.modify',
  'https://mail.google.com/',
]);

export function allowsText(scopes: readonly string[]): boolean {
  return scopes.some((scope) => TEXT_SCOPES.has(scope));
}

/** The page on which a person grants access to a mailbox. `offline`: with a refresh token, also if there was one before. */
export function consentPage({ clientId, consentUrl }: OAuthClient, consent: Consent): URL {
  const page = new URL(consentUrl);
  page.search = new URLSearchParams({
    client_id: clientId,
    redirect_uri: consent.redirectUri,
    response_type: 'code',
    scope: READ_SCOPE,
    access_type: 'offline',
    prompt: 'consent',
    state: consent.state,
    code_challenge: createHash('sha256').update(consent.codeVerifier).digest('base64url'),
    code_challenge_method: 'S256',
  }).toString();
  return page;
}

/** @throws GMAIL_GRANT_REVOKED when the code is none, or was used; GMAIL_CLIENT_REFUSED; GMAIL_AWAY */
export async function exchangeCode(
  client: OAuthClient,
  code: string,
  { redirectUri, codeVerifier }: Consent,
  signal: AbortSignal,
): Promise<Tokens> {
  return await requestTokens(client, 'exchanging the code for tokens', signal, {
    grant_type: 'authorization_code',
    code,
    redirect_uri: redirectUri,
    code_verifier: codeVerifier,
  });
}

/** @throws GMAIL_GRANT_REVOKED; GMAIL_CLIENT_REFUSED; GMAIL_AWAY */
export async function refreshTokens(
  client: OAuthClient,
  refreshToken: string,
  signal: AbortSignal,
): Promise<Tokens> {
  return await requestTokens(client, 'fetching a new access token', signal, {
    grant_type: 'refresh_token',
    refresh_token: refreshToken,
  });
}

/** As RFC 6750 has it, so that it can stand in a header. */
const ACCESS_TOKEN = /^[A-Za-z0-9\-._~+/]+=*$/;
/** Google's live for an hour. */
const LONGEST_LIFE_MS = 24 * 3_600_000;

async function requestTokens(
  { clientId, clientSecret, tokenUrl, transport }: OAuthClient,
  doing: string,
  signal: AbortSignal,
  fields: Readonly<Record<string, string>>,
): Promise<Tokens> {
  let answer: unknown;
  try {
    answer = await sendToGoogle(
      {
        doing,
        method: 'POST',
        url: tokenUrl,
        form: new URLSearchParams({ ...fields, client_id: clientId, client_secret: clientSecret }),
        signal,
      },
      transport,
    );
  } catch (error) {
    throw tokenFault(error, doing);
  }
  const field = (name: string): unknown =>
    typeof answer === 'object' && answer !== null ? Reflect.get(answer, name) : undefined;
  const accessToken = field('access_token');
  const expiresIn = Number(field('expires_in'));
  // Whatever is no token answers for no mailbox: tokens are fetched again when Google is back.
  if (typeof accessToken !== 'string' || !ACCESS_TOKEN.test(accessToken) || !(expiresIn > 0)) {
    throw new GmailError('GMAIL_AWAY', `${doing}: the answer has no access token`, {
      hint: 'it is tried again by itself; check the way to Google, and GMAIL_API_BASE if it is set',
      status: 200,
    });
  }
  const refreshToken = field('refresh_token');
  const scope = field('scope');
  return {
    accessToken,
    expiresInMs: Math.min(expiresIn * 1_000, LONGEST_LIFE_MS),
    refreshToken: typeof refreshToken === 'string' && refreshToken !== '' ? refreshToken : undefined,
    scopes: typeof scope === 'string' ? scope.split(' ').filter((word) => word !== '') : undefined,
  };
}
