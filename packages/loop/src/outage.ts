// Tells errors of something outside that does not answer from all others. Where our code waited for it is no news, and
// while it lasts such errors come from every loop again and again: they are logged without stacks, and rarely.

/** Of the operating system, of Node's own HTTP and of DNS: no connection was made, or it broke. Or the schema is to come. */
const AWAY_CODES: ReadonlySet<string> = new Set([
  'EAI_AGAIN',
  'ECONNABORTED',
  'ECONNREFUSED',
  'ECONNRESET',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EPIPE',
  'ETIMEDOUT',
  'POSTGRES_MIGRATIONS_PENDING',
  'UND_ERR_CONNECT_TIMEOUT',
  'UND_ERR_SOCKET',
]);

/**
 * SQLSTATEs: connection lost (08), login refused (28), no such database (3D), out of disk, memory or connections (53),
 * shut down or starting (57P), a standby (25006).
 */
const SERVER_AWAY = /^(?:08|28|3D|53)\w{3}$|^57P0[1-5]$|^25006$/;

/** Clients of databases that give no code. */
const AWAY_WORDS =
  /^(?:Connection terminated|timeout exceeded when trying to connect|Query read timeout|no answer within|the server closed the connection)/;

const DEEPEST_CAUSE = 8;

/** Whether the error, or what caused it, says so by its code, its words, or a `kind` of `away`. */
export function isOutage(error: unknown): boolean {
  let cause = error;
  for (let depth = 0; cause instanceof Error && depth < DEEPEST_CAUSE; depth += 1) {
    const { code, kind } = cause as { readonly code?: unknown; readonly kind?: unknown };
    if (kind === 'away') return true;
    if (typeof code === 'string' && (AWAY_CODES.has(code) || SERVER_AWAY.test(code))) return true;
    if (AWAY_WORDS.test(cause.message)) return true;
    cause = cause.cause;
  }
  return false;
}
