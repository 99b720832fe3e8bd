// What went wrong between us and Meilisearch, and whether the documents are at fault.

import { SinkError } from '@pulsebox/outbox';
import { MeilisearchApiError } from 'meilisearch';
import type { MeilisearchErrorResponse } from 'meilisearch';

/** What Meilisearch calls `invalid_request` and is none of the documents' fault. */
const PASSING_CODES: ReadonlySet<string> = new Set([
  'index_not_found',
  'index_not_accessible',
  'no_space_left_on_device',
  'task_not_found',
  'too_many_open_files',
  'too_many_search_requests',
]);

/** HTTP statuses that say "not now": request timeout, too early, too many requests. */
const PASSING_STATUSES: ReadonlySet<number> = new Set([408, 425, 429]);

/**
 * Makes one kind of error of what the client throws. Messages are our own or Meilisearch's, never those of the
 * network layer, and no key is ever part of either.
 *
 * @param doing what was being done, for people: `writing documents to items`
 */
export function requestFault(error: unknown, doing: string): SinkError {
  if (error instanceof SinkError) return error;
  if (error instanceof MeilisearchApiError) return answeredFault(error, doing);
  if (error instanceof SyntaxError) {
    return away(doing, 'something that is not JSON answered', {
      hint: 'check that MEILI_URL is that of Meilisearch, and the proxy before it',
      cause: error,
    });
  }
  const reason = causes(error).find((cause) => cause.name === 'TimeoutError' || 'code' in cause);
  const words = reason?.name === 'TimeoutError' ? 'no answer in time' : `no connection (${codeOf(reason)})`;
  return away(doing, words, {
    hint: 'check that Meilisearch runs and that MEILI_URL is right; a slow one may need a longer MEILI_TIMEOUT_SECONDS',
    cause: error,
  });
}

/** For a task that Meilisearch took and then failed: the client resolves those. */
export function taskFault(error: MeilisearchErrorResponse | null, doing: string): SinkError {
  if (error !== null && !isMeilisearchs(error)) return notMeilisearchs(doing, error);
  if (error === null) {
    return away(doing, 'the task was cancelled', {
      hint: 'it is sent again; find out who cancels tasks in Meilisearch',
    });
  }
  return fault(error, doing, undefined);
}

function answeredFault(error: MeilisearchApiError, doing: string): SinkError {
  const { status, headers } = error.response;
  const cause = isMeilisearchs(error.cause) ? error.cause : undefined;
  const retryAfterMs = retryAfter(headers.get('retry-after'));
  if (status === 401 || status === 403) {
    return new SinkError(
      'away',
      'SEARCH_SINK_DENIED',
      `${doing}: Meilisearch refused the key (${cause?.code ?? status})`,
      {
        hint: 'set MEILI_API_KEY to a key that may search, write documents and settings, and manage these indexes',
        sinkCode: cause?.code,
      },
    );
  }
  if (cause === undefined || status >= 500 || PASSING_STATUSES.has(status)) {
    return away(doing, `Meilisearch answered ${status}${cause === undefined ? '' : ` (${cause.code})`}`, {
      hint: 'it is overloaded, starting or broken; the same is sent again after a while',
      sinkCode: cause?.code,
      retryAfterMs,
    });
  }
  return fault(cause, doing, retryAfterMs);
}

/** JSON, and yet nothing that Meilisearch would answer. */
export function notMeilisearchs(doing: string, answer: unknown): SinkError {
  return away(doing, `something answered that is not Meilisearch: ${shortened(shown(answer))}`, {
    hint: 'check that MEILI_URL is that of Meilisearch, and the proxy before it',
  });
}

/** Proxies answer JSON of their own, which has no such code: it is not Meilisearch that refuses then. */
function isMeilisearchs(cause: MeilisearchErrorResponse | undefined): boolean {
  const { code, message } = (cause ?? {}) as Readonly<Partial<Record<string, unknown>>>;
  return typeof code === 'string' && typeof message === 'string';
}

/** It is kept with every event that it is about. */
const LONGEST_WORDS = 1_000;

function shortened(words: string): string {
  return words.length > LONGEST_WORDS ? `${words.slice(0, LONGEST_WORDS).toWellFormed()}…` : words;
}

function shown(value: unknown): string {
  return JSON.stringify(value) ?? 'nothing';
}

/** `type` is Meilisearch's own division: invalid_request, internal, auth, system. */
function fault(error: MeilisearchErrorResponse, doing: string, retryAfterMs: number | undefined): SinkError {
  const { code, type, message } = error;
  if (type !== 'invalid_request' || PASSING_CODES.has(code)) {
    return away(doing, shortened(`${code}: ${message}`), {
      hint:
        code === 'no_space_left_on_device'
          ? 'give Meilisearch more disk; the same is sent again until there is room'
          : 'the same is sent again after a while; the log of Meilisearch may say more',
      sinkCode: code,
      retryAfterMs,
    });
  }
  return new SinkError('rejected', 'SEARCH_SINK_REJECTED', `${doing}: ${shortened(`${code}: ${message}`)}`, {
    hint: 'Meilisearch will refuse the same again; correct what the view of the projection yields',
    sinkCode: code,
  });
}

function away(
  doing: string,
  words: string,
  options: {
    hint: string;
    cause?: unknown;
    sinkCode?: string | undefined;
    retryAfterMs?: number | undefined;
  },
): SinkError {
  return new SinkError('away', 'SEARCH_SINK_AWAY', `${doing}: ${words}`, options);
}

/** Seconds, or a date. */
function retryAfter(header: string | null): number | undefined {
  if (header === null) return undefined;
  const seconds = Number(header);
  const ms = Number.isFinite(seconds) ? seconds * 1_000 : Date.parse(header) - Date.now();
  return Number.isFinite(ms) && ms >= 0 ? Math.round(ms) : undefined;
}

/** The error, what caused it, and what caused that; fetch buries `ECONNREFUSED` three deep. */
function causes(error: unknown): Error[] {
  const found: Error[] = [];
  for (let cause = error; cause instanceof Error && found.length < 8; cause = cause.cause) found.push(cause);
  return found;
}

function codeOf(error: Error | undefined): string {
  return error !== undefined && 'code' in error && typeof error.code === 'string' ? error.code : 'unknown';
}
