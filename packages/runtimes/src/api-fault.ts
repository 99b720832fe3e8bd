// What went wrong between us and the API server, and what that means for the work.

import { RuntimesError } from './runtimes-error.ts';

/** Waited for when the API server asks to be left alone and does not say for how long, in milliseconds. */
const DEFAULT_RETRY_AFTER_MS = 1_000;

interface Answer {
  readonly code: number;
  readonly body: unknown;
  readonly headers: Readonly<Record<string, string>>;
}

/** Makes one kind of error of what the client throws. `doing`: `creating Pod openclaw-ada`. */
export function apiFault(error: unknown, doing: string): RuntimesError {
  if (error instanceof RuntimesError) return error;
  if (!isAnswer(error)) {
    return new RuntimesError(
      'RUNTIMES_API_AWAY',
      `${doing}: no answer from the API server (${wordsOf(error)})`,
      {
        hint: 'nothing is lost, the next round goes on; when it lasts, look at the network and the address of the API server',
        cause: error,
      },
    );
  }
  const { code: status } = error;
  const message = `${doing}: ${status} ${statementOf(error)}`;
  const retryAfterMs = retryAfterOf(error);
  if (status === 429) {
    return new RuntimesError('RUNTIMES_API_THROTTLED', message, {
      hint: 'the API server has too much to do, or a limit for this account is reached; the next round waits for as long as it asked',
      status,
      retryAfterMs: retryAfterMs ?? DEFAULT_RETRY_AFTER_MS,
      cause: error,
    });
  }
  if (status >= 500) {
    return new RuntimesError('RUNTIMES_API_AWAY', message, {
      hint: 'nothing is lost, the next round goes on; when it lasts, look at the API server',
      status,
      retryAfterMs,
      cause: error,
    });
  }
  if (status === 401 || (status === 403 && !/quota/i.test(message))) {
    return new RuntimesError('RUNTIMES_API_DENIED', message, {
      hint: 'the service account needs get, list, create and delete on pods and services of the namespace; a policy of the namespace may refuse the Pod as well',
      status,
      cause: error,
    });
  }
  return new RuntimesError('RUNTIMES_API_REFUSED', message, {
    hint: 'the message is that of the API server; look at the image, the resource envelope, quotas and the namespace',
    status,
    cause: error,
  });
}

/** Without a connection nothing was sent. */
const NOT_SENT: ReadonlySet<unknown> = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
]);

/** Whether the request may have taken effect, though it was not said. */
export function mayHaveHappened({ status, cause }: RuntimesError): boolean {
  if (status !== undefined) return status >= 500;
  return !NOT_SENT.has(codeOf(cause)) && !NOT_SENT.has(codeOf((cause as Error | undefined)?.cause));
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined;
}

function isAnswer(error: unknown): error is Answer {
  return (
    error instanceof Error &&
    'code' in error &&
    typeof error.code === 'number' &&
    'headers' in error &&
    typeof error.headers === 'object'
  );
}

/** The `message` of the Status that the API server answers with. */
function statementOf({ body }: Answer): string {
  try {
    const status: unknown = typeof body === 'string' ? JSON.parse(body) : body;
    if (typeof status === 'object' && status !== null && 'message' in status) return String(status.message);
  } catch {
    // Whatever stands in front of the API server answers in its own way.
  }
  return typeof body === 'string' ? body.slice(0, 200) : '';
}

/** Seconds, or a date: RFC 9110, 10.2.3. */
function retryAfterOf({ headers }: Answer): number | undefined {
  const value = headers['retry-after'];
  if (value === undefined) return undefined;
  const ms = /^\d+$/.test(value) ? Number(value) * 1_000 : Date.parse(value) - Date.now();
  return Number.isNaN(ms) ? undefined : Math.max(0, ms);
}

function wordsOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { cause } = error;
  return cause instanceof Error && cause.message !== ''
    ? `${error.message}: ${cause.message}`
    : error.message;
}
