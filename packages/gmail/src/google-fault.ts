// What went wrong between us and Google, and whose fault that is: nobody's at present, the grant's, ours, or the request's.

import { GmailError } from './gmail-error.ts';

/** 403 with one of these is Google's way to say 429. */
const LIMITED: ReadonlySet<string> = new Set([
  'rateLimitExceeded',
  'userRateLimitExceeded',
  'quotaExceeded',
  'dailyLimitExceeded',
  'RATE_LIMIT_EXCEEDED',
  'RESOURCE_EXHAUSTED',
]);

/** The grant does not reach as far as it was used; only its user, or the administrator of the mailbox, can change that. */
const GRANT: Readonly<Record<string, string>> = {
  insufficientPermissions: 'the grant does not allow to read this mailbox',
  ACCESS_TOKEN_SCOPE_INSUFFICIENT: 'the grant does not allow to read this mailbox',
  domainPolicy: "the administrator of the mailbox's domain does not allow this application",
  failedPrecondition: 'the account has no Gmail',
  FAILED_PRECONDITION: 'the account has no Gmail',
};

/** Our project is not set up. */
const PROJECT: ReadonlySet<string> = new Set(['accessNotConfigured', 'SERVICE_DISABLED']);

interface GoogleAnswer {
  readonly status: number;
  readonly headers: { get(name: string): string | null };
}

/** An answer that is no 2xx. Of its text only Google's own names for faults are used. */
export function answeredFault({ status, headers }: GoogleAnswer, text: string, doing: string): GmailError {
  const reasons = reasonsIn(text);
  const retryAfterMs = retryAfter(headers.get('retry-after'));
  const said = reasons.length === 0 ? `${status}` : `${status} (${reasons.join(', ')})`;
  if (status === 429 || reasons.some((reason) => LIMITED.has(reason)))
    return limited(`${doing}: Google answered ${said}`, status, retryAfterMs);
  if (status >= 500 || status === 408)
    return away(`${doing}: Google answered ${said}`, { status, retryAfterMs });
  const refusal = reasons.find((reason) => GRANT[reason] !== undefined);
  if (refusal !== undefined)
    return grantRevoked(`${GRANT[refusal] ?? refusal} (Google answered ${said})`, status);
  if (reasons.some((reason) => PROJECT.has(reason))) {
    return clientRefused(`${doing}: Google answered ${said}: the Gmail API is not enabled`, {
      status,
      hint: 'enable the Gmail API in the Google Cloud project of GMAIL_CLIENT_ID',
    });
  }
  return new GmailError('GMAIL_REQUEST_REFUSED', `${doing}: Google answered ${said}`, {
    hint: 'Google will most likely refuse the same again',
    status,
  });
}

/** A 2xx with something in it that Google does not send: a proxy, a portal, or an answer that was cut off. */
export function unreadableFault(status: number, doing: string): GmailError {
  return away(`${doing}: something that is not JSON answered ${status}`, { status });
}

/**
 * Faults of the token endpoint, which speaks OAuth: `{ error, error_description }`. Without a name for the fault it says
 * nothing about the grant, nor about whatever the token was wanted for.
 */
export function tokenFault(error: unknown, doing: string): unknown {
  if (!(error instanceof GmailError) || error.code !== 'GMAIL_REQUEST_REFUSED') return error;
  const { status } = error;
  if (error.message.includes('(invalid_grant)')) {
    return grantRevoked('the grant has expired, was revoked, or the password was changed', status);
  }
  if (/\((?:invalid_client|unauthorized_client|deleted_client|org_internal)\)/.test(error.message)) {
    return clientRefused(`${doing}: ${error.message}`, {
      status,
      hint: 'check GMAIL_CLIENT_ID and GMAIL_CLIENT_SECRET against the Google Cloud console',
    });
  }
  return away(error.message, { status });
}

/** No answer came. Messages of the network layer are not passed on: they may quote what was sent. */
export function unreachableFault(error: unknown, doing: string): GmailError {
  const reason = causes(error).find((cause) => cause.name === 'TimeoutError' || 'code' in cause);
  const code = reason !== undefined && 'code' in reason && typeof reason.code === 'string' ? reason.code : '';
  const words =
    reason?.name === 'TimeoutError' ? 'no answer in time' : `no connection${code === '' ? '' : ` (${code})`}`;
  return away(`${doing}: ${words}`, { cause: error });
}

/** A list that would never end. */
export function pagesFault(what: string): GmailError {
  return new GmailError('GMAIL_ANSWER_INVALID', `the pages of a list of Gmail lead nowhere: ${what}`, {
    hint: 'check GMAIL_API_BASE, and any proxy on the way to Google',
  });
}

/** Its message is the reason that is stored with the connection, for a person. */
export function grantRevoked(reason: string, status?: number): GmailError {
  return new GmailError('GMAIL_GRANT_REVOKED', reason, {
    hint: 'connect the mailbox again; until then it is left alone',
    status,
  });
}

function limited(message: string, status: number, retryAfterMs: number | undefined): GmailError {
  return new GmailError('GMAIL_RATE_LIMITED', message, {
    hint: 'the mailbox is left alone for a while; other programs that read it spend the same quota',
    status,
    retryAfterMs,
  });
}

function away(
  message: string,
  options: {
    readonly status?: number | undefined;
    readonly retryAfterMs?: number | undefined;
    readonly cause?: unknown;
  },
): GmailError {
  return new GmailError('GMAIL_AWAY', message, {
    hint: 'it is tried again by itself; check the way to Google, and GMAIL_API_BASE if it is set',
    ...options,
  });
}

function clientRefused(
  message: string,
  options: { readonly status: number | undefined; readonly hint: string },
) {
  return new GmailError('GMAIL_CLIENT_REFUSED', message, options);
}

/** Google's names for the fault, of either form: `{error: {status, errors: [{reason}], details: [{reason}]}}`, `{error}`. */
function reasonsIn(text: string): string[] {
  let error: unknown;
  try {
    error = fieldOf(JSON.parse(text), 'error');
  } catch {
    return [];
  }
  if (typeof error === 'string') return NAME.test(error) ? [error] : [];
  const listed = ['errors', 'details'].flatMap((list) => {
    const entries = fieldOf(error, list);
    return Array.isArray(entries) ? entries.map((entry: unknown) => fieldOf(entry, 'reason')) : [];
  });
  const names = [...listed, fieldOf(error, 'status')].filter(
    (name): name is string => typeof name === 'string' && NAME.test(name),
  );
  return [...new Set(names)];
}

const NAME = /^[A-Za-z_]{1,60}$/;

function fieldOf(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined;
}

/** Whatever Google asks for: a whole group may wait for it. */
const LONGEST_RETRY_AFTER_MS = 3_600_000;

/** Seconds, or a date. */
function retryAfter(header: string | null): number | undefined {
  if (header === null) return undefined;
  const seconds = Number(header);
  const ms = Number.isFinite(seconds) ? seconds * 1_000 : Date.parse(header) - Date.now();
  return ms >= 0 ? Math.min(Math.round(ms), LONGEST_RETRY_AFTER_MS) : undefined;
}

function causes(error: unknown): Error[] {
  const found: Error[] = [];
  for (let cause = error; cause instanceof Error && found.length < 8; cause = cause.cause) found.push(cause);
  return found;
}
