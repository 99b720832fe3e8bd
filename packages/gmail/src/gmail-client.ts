// Gmail's API for one mailbox, as far as we use it: reading, and registering watches. Nothing here changes a message.

import { setTimeout as delay } from 'node:timers/promises';
import { GmailError, isGmailError } from './gmail-error.ts';
import { sendToGoogle } from './google-request.ts';
import type { GoogleTransport } from './google-request.ts';
import type { Grants } from './grants.ts';
import type { GmailMetrics } from './gmail-metrics.ts';
import { parseHistory, parseMessagePage, parseProfile, parseWatch } from './gmail-answers.ts';
import type { HistoryPage, MessagePage, Profile, Watch } from './gmail-answers.ts';
import { parseMessage } from './message.ts';
import type { Message } from './message.ts';
import type { MailboxQuotas, Quota } from './quota.ts';

export interface GmailApi {
  readonly baseUrl: URL;
  readonly transport: GoogleTransport;
  readonly grants: Grants;
  /** Of all mailboxes together. */
  readonly projectQuota: Quota;
  readonly mailboxQuotas: MailboxQuotas;
  readonly metrics?: GmailMetrics | undefined;
  /** How often a request is tried while Google is away or limits it. Default 3. */
  readonly tries?: number | undefined;
  /** The first wait before a request is tried again, in milliseconds; it doubles. Default 500. */
  readonly firstRetryMs?: number | undefined;
}

export interface CallContext {
  readonly signal: AbortSignal;
  /** Called while a call waits for quota, or for Google to recover. */
  readonly progress: () => void;
}

export interface GmailMailbox {
  profile(context: CallContext): Promise<Profile>;
  /** `gone`: Google has no history from there on any more. */
  history(request: HistoryRequest, context: CallContext): Promise<HistoryPage | 'gone'>;
  /** Newest first. `invalid-page`: Google knows the page no longer. */
  messages(
    request: { readonly page: string | undefined; readonly size: number },
    context: CallContext,
  ): Promise<MessagePage | 'invalid-page'>;
  /** Undefined: it is not in the mailbox any more. */
  message(
    gmailId: string,
    request: { readonly withText: boolean },
    context: CallContext,
  ): Promise<Message | undefined>;
  /** Has changes told to the topic from now on, for a week. */
  watch(topic: string, context: CallContext): Promise<Watch>;
}

export interface HistoryRequest {
  readonly startHistoryId: bigint;
  readonly page: string | undefined;
}

/** What Google counts for each method. */
export const UNITS = { profile: 1, history: 2, messages: 5, message: 5, watch: 100 } as const;
export type GmailMethod = keyof typeof UNITS;

/** Records on a page: with their messages, what one transaction stores and memory holds. */
const HISTORY_PAGE = 100;

const TRIES = 3;
const PROGRESS_EVERY_MS = 1_000;
/** A mailbox is not waited for any longer than this, while others could be read. */
const LONGEST_WAIT_MS = 10_000;
/** Only what is used of a message without its text. */
const HEADERS = ['From', 'To', 'Cc', 'Subject'];

export function gmailMailbox(api: GmailApi, connectionId: string): GmailMailbox {
  const { grants, projectQuota, metrics, firstRetryMs = 500, tries = TRIES } = api;
  const quota = api.mailboxQuotas.of(connectionId);

  async function call(
    method: GmailMethod,
    request: {
      readonly path: string;
      readonly search?: readonly (readonly [string, string])[];
      readonly json?: unknown;
    },
    context: CallContext,
  ): Promise<unknown> {
    const url = new URL(`gmail/v1/users/me/${request.path}`, api.baseUrl);
    for (const [name, value] of request.search ?? []) url.searchParams.append(name, value);
    const doing = `${DOING[method]} of mailbox ${connectionId}`;
    for (let attempt = 1; ; attempt += 1) {
      assertPatient(quota, doing);
      await projectQuota.take(UNITS[method], context);
      await quota.take(UNITS[method], context);
      const end = metrics?.requestDuration.startTimer({ method });
      // It has an end, and takes longer than most loops may be silent.
      const saying = setInterval(() => context.progress(), PROGRESS_EVERY_MS);
      try {
        const answer = await authorized(doing, url, request.json, context.signal);
        metrics?.requests.inc({ method, outcome: 'ok' });
        return answer;
      } catch (error) {
        context.signal.throwIfAborted();
        metrics?.requests.inc({ method, outcome: outcomeOf(error) });
        if (!isGmailError(error, 'GMAIL_AWAY', 'GMAIL_RATE_LIMITED')) throw error;
        const waitMs = Math.max(error.retryAfterMs ?? 0, jittered(firstRetryMs * 2 ** (attempt - 1)));
        // Whatever else is asked of this mailbox meanwhile waits as well.
        if (error.code === 'GMAIL_RATE_LIMITED') quota.pause(waitMs);
        if (attempt >= tries || waitMs > LONGEST_WAIT_MS) throw error;
        await delay(waitMs, undefined, { signal: context.signal }).catch(() =>
          context.signal.throwIfAborted(),
        );
        context.progress();
      } finally {
        clearInterval(saying);
        end?.();
      }
    }
  }

  /** With a new access token, once, when Google takes the present one no longer. */
  async function authorized(doing: string, url: URL, json: unknown, signal: AbortSignal): Promise<unknown> {
    const accessToken = await grants.accessToken(connectionId, signal);
    const method = json === undefined ? 'GET' : 'POST';
    const send = (token: string): Promise<unknown> =>
      sendToGoogle({ doing, method, url, json, accessToken: token, signal }, api.transport);
    try {
      return await send(accessToken);
    } catch (error) {
      if (!isGmailError(error) || error.status !== 401) throw error;
      return await send(await grants.replaceAccessToken(connectionId, accessToken, signal));
    }
  }

  async function fetchMessage(gmailId: string, withText: boolean, context: CallContext): Promise<Message> {
    const format: [string, string][] = withText
      ? [['format', 'full']]
      : [['format', 'metadata'], ...HEADERS.map((name): [string, string] => ['metadataHeaders', name])];
    const path = `messages/${encodeURIComponent(gmailId)}`;
    return parseMessage(await call('message', { path, search: format }, context), gmailId);
  }

  return {
    profile: async (context) => parseProfile(await call('profile', { path: 'profile' }, context)),
    async history({ startHistoryId, page }, context) {
      const search = [
        ['startHistoryId', startHistoryId.toString()],
        ['maxResults', String(HISTORY_PAGE)],
        ...(page === undefined ? [] : [['pageToken', page] as const]),
      ] as const;
      try {
        return parseHistory(await call('history', { path: 'history', search }, context));
      } catch (error) {
        if (isRefusal(error, 404)) return 'gone';
        throw error;
      }
    },
    async messages({ page, size }, context) {
      const search = [
        ['maxResults', String(size)],
        ...(page === undefined ? [] : [['pageToken', page] as const]),
      ] as const;
      try {
        return parseMessagePage(await call('messages', { path: 'messages', search }, context));
      } catch (error) {
        if (page !== undefined && isRefusal(error, 400)) return 'invalid-page';
        throw error;
      }
    },
    async message(gmailId, { withText }, context) {
      try {
        return await fetchMessage(gmailId, withText, context);
      } catch (error) {
        if (isRefusal(error, 404)) return undefined;
        if (!withText || !isTextToBlame(error)) throw error;
        return await fetchMessage(gmailId, false, context);
      }
    },
    watch: async (topic, context) =>
      parseWatch(await call('watch', { path: 'watch', json: { topicName: topic } }, context)),
  };
}

const DOING: Readonly<Record<GmailMethod, string>> = {
  profile: 'reading the profile',
  history: 'reading the history',
  messages: 'listing the messages',
  message: 'reading a message',
  watch: 'registering the watch',
};

function isRefusal(error: unknown, status: number): boolean {
  return error instanceof GmailError && error.code === 'GMAIL_REQUEST_REFUSED' && error.status === status;
}

/** Whoever holds up a batch for as long as Google asked holds up all other mailboxes. @throws GMAIL_RATE_LIMITED */
function assertPatient(quota: Quota, doing: string): void {
  const retryAfterMs = quota.pausedMs();
  if (retryAfterMs <= LONGEST_WAIT_MS) return;
  throw new GmailError('GMAIL_RATE_LIMITED', `${doing}: Google asked to be left alone`, {
    hint: 'the mailbox is left alone for a while; other programs that read it spend the same quota',
    retryAfterMs,
  });
}

/** Too large with its text, or the grant has just been reduced to metadata: what it is about is worth having by itself. */
function isTextToBlame(error: unknown): boolean {
  if (isGmailError(error, 'GMAIL_ANSWER_INVALID')) return error.status !== undefined;
  return isGmailError(error, 'GMAIL_REQUEST_REFUSED', 'GMAIL_GRANT_REVOKED') && error.status === 403;
}

/** Outcomes of requests, as the metrics count them. */
export const requestOutcomes = ['ok', 'away', 'limited', 'revoked', 'refused'] as const;
export type RequestOutcome = (typeof requestOutcomes)[number];

function outcomeOf(error: unknown): RequestOutcome {
  if (isGmailError(error, 'GMAIL_RATE_LIMITED')) return 'limited';
  if (isGmailError(error, 'GMAIL_GRANT_REVOKED')) return 'revoked';
  return isGmailError(error, 'GMAIL_AWAY') ? 'away' : 'refused';
}

/** The upper half is random, so that the calls of a page do not all come back in one instant. */
function jittered(ms: number): number {
  return ms / 2 + (ms / 2) * Math.random();
}
