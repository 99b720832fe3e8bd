// What must not reach a log: values under telling names, and credentials inside URLs.

const TELLING =
  /pass(?:word|wd|phrase)?$|secret|token|authori[sz]ation|cookie|dsn$|api[-_]?key|private[-_]?key|encryption[-_]?key|database[-_]?url|connection[-_]?string|credential/i;
const URL_CREDENTIALS = /([a-z][a-z0-9+.-]*:\/\/)[^\s/?#"'@]+@/gi;
const DEEPEST = 6;

export const REDACTED = '[redacted]';

/** `postgres://user:word@host/db` becomes `postgres://[redacted]@host/db`, anywhere in the text. */
export function redactText(text: string): string {
  return text.replace(URL_CREDENTIALS, `$1${REDACTED}@`);
}

/** A copy in which every field with a telling name is redacted. Errors are written out with code, hint and cause. */
export function redactFields(value: unknown, depth = 0): unknown {
  if (typeof value === 'bigint') return value.toString();
  if (typeof value !== 'object' || value === null) return value;
  if (depth >= DEEPEST) return '[deeper]';
  if (value instanceof Error) return redactFields(describeError(value), depth + 1);
  if (Array.isArray(value)) return value.map((item) => redactFields(item, depth + 1));
  if ('toJSON' in value && typeof value.toJSON === 'function') return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, field]) => [
      key,
      TELLING.test(key) && field !== undefined && field !== null ? REDACTED : redactFields(field, depth + 1),
    ]),
  );
}

function describeError(error: Error): Record<string, unknown> {
  const { code, hint, errors } = error as { code?: unknown; hint?: unknown; errors?: unknown };
  return {
    type: error.name,
    ...(code === undefined ? {} : { code }),
    message: error.message,
    ...(hint === undefined ? {} : { hint }),
    ...(error.cause === undefined ? {} : { cause: error.cause }),
    ...(errors === undefined ? {} : { errors }),
    stack: error.stack,
  };
}
