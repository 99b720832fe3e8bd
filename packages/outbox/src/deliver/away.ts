// Tells "the sink is away" from "these events are bad" for whatever a handler throws.
//
// That is each sink's job, and a SinkError says it. What follows is the net below: faults that no event can be to blame
// for, whoever throws them, so that a dropped connection is not taken for five hundred bad events.

import { SinkError } from './sink-error.ts';

/** Of the operating system, as Node hands them on: no connection was made, or it broke. */
const CONNECTION_CODES: ReadonlySet<string> = new Set([
  'EAI_AGAIN',
  'ECONNABORTED',
  'ECONNREFUSED',
  'ECONNRESET',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EPIPE',
  'ETIMEDOUT',
  'UND_ERR_CONNECT_TIMEOUT',
  'UND_ERR_SOCKET',
]);

/**
 * SQLSTATEs of PostgreSQL: connection lost (08), wrong password (28), no such database (3D), a table or a privilege
 * that is missing (42), out of disk, memory or connections (53), shut down or starting (57P), a standby (25006).
 */
const DATABASE_AWAY = /^(?:08|28|3D|42|53)\w{3}$|^57P0[1-5]$|^25006$/;

/** node-postgres has no codes for these. */
const CONNECTION_WORDS =
  /^(?:Connection terminated|timeout exceeded when trying to connect|no answer within)/;

/** Deep enough for fetch, which buries `ECONNREFUSED` three deep. */
const DEEPEST_CAUSE = 8;

/** The error as one of a sink that is away, or undefined: then the events may be at fault. */
export function awayError(error: unknown): SinkError | undefined {
  if (error instanceof SinkError) return error.kind === 'away' ? error : undefined;
  const reason = causes(error).find(isConnectionFault);
  if (reason === undefined) return undefined;
  const { code } = reason as { readonly code?: unknown };
  return new SinkError(
    'away',
    'OUTBOX_SINK_UNREACHABLE',
    `what the handler writes to cannot be reached (${typeof code === 'string' ? code : reason.message})`,
    {
      hint: 'the group goes on by itself once it can be reached; a handler that knows more throws a SinkError',
      cause: error,
      sinkCode: typeof code === 'string' ? code : undefined,
    },
  );
}

function isConnectionFault(error: Error): boolean {
  const { code } = error as { readonly code?: unknown };
  if (typeof code === 'string') return CONNECTION_CODES.has(code) || DATABASE_AWAY.test(code);
  return error.name === 'TimeoutError' || CONNECTION_WORDS.test(error.message);
}

function causes(error: unknown): Error[] {
  const found: Error[] = [];
  for (let cause = error; cause instanceof Error && found.length < DEEPEST_CAUSE; cause = cause.cause)
    found.push(cause);
  return found;
}
