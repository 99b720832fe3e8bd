// What a push service answered, and what follows from it.

/**
 * `sent`: it has the message. `gone`: the subscription is over. `rejected`: this message, or this way of sending it,
 * will never be taken. `denied`: it does not accept who we say we are. `throttled`: later. `unavailable`: it, or the way
 * to it, is broken at present.
 */
export type AnswerKind = 'sent' | 'gone' | 'rejected' | 'denied' | 'throttled' | 'unavailable';

export interface Answer {
  readonly kind: AnswerKind;
  readonly status: number;
  /** The service's own word for it, if it is one that may be shown: `BadJwtToken`, `106`. */
  readonly reason: string | undefined;
  /** How long the service asks to be left alone, in milliseconds. */
  readonly retryAfterMs: number | undefined;
}

/** "Not now", though not of the 500s: request time-out, too early. */
const PASSING: ReadonlySet<number> = new Set([408, 425]);

/** @param body as much of the answer as was read */
export function readAnswer(
  status: number,
  headers: { readonly retryAfter: string | undefined },
  body: string,
): Answer {
  return {
    kind: kindOf(status, body),
    status,
    reason: reasonIn(body),
    retryAfterMs: retryAfter(headers.retryAfter, Date.now()),
  };
}

function kindOf(status: number, body: string): AnswerKind {
  if (status >= 200 && status < 300) return 'sent';
  if (status === 404 || status === 410) return 'gone';
  if (status === 401 || status === 403) return 'denied';
  // FCM answers 400 to some faults of the VAPID token.
  if (status === 400 && /vapid|\bjwt\b|authori[sz]ation header/i.test(body)) return 'denied';
  // 406 is how Windows' service throttles.
  if (status === 406 || status === 429) return 'throttled';
  if (status >= 500 || PASSING.has(status)) return 'unavailable';
  // Redirects among them: they are not followed, and where they lead is a stranger's choice.
  return 'rejected';
}

/**
 * Apple: `{"reason": "BadJwtToken"}`; Mozilla: `{"errno": 106}`. Nothing else of a body is shown: it may repeat the
 * endpoint or the token.
 */
function reasonIn(body: string): string | undefined {
  const [, word] = /"reason"\s*:\s*"([A-Za-z]{1,40})"/.exec(body) ?? [];
  const [, number] = /"errno"\s*:\s*(\d{1,6})\b/.exec(body) ?? [];
  return word ?? number;
}

/** Seconds, or a date. Undefined for anything else. */
export function retryAfter(header: string | undefined, nowMs: number): number | undefined {
  if (header === undefined) return undefined;
  const text = header.trim();
  if (/^\d{1,9}$/.test(text)) return Number(text) * 1_000;
  // Date.parse takes "-1" for a year.
  const ms = /^[A-Z][a-z]{2}/.test(text) ? Date.parse(text) - nowMs : Number.NaN;
  return Number.isFinite(ms) ? Math.max(0, Math.round(ms)) : undefined;
}
