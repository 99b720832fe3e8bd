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
export function redactFields(fields: Readonly<Record<string, unknown>>, depth = 0): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(fields).map(([key, value]) => [
      key,
      TELLING.test(key) && value !== undefined && value !== null ? REDACTED : redactValue(value, depth + 1),
    ]),
  );
}

function redactValue(value: unknown, depth: number): unknown {
  if (typeof value === 'bigint') return value.toString();
  if (typeof value !== 'object' || value === null) return value;
  if (depth > DEEPEST) return '[deeper]';
  if (value instanceof Error) return redactFields(describeError(value), depth);
  if (Array.isArray(value)) return value.map((item) => redactValue(item, depth + 1));
  if ('toJSON' in value && typeof value.toJSON === 'function') return value;
  return redactFields({ ...value }, depth);
}

function describeError(error: Error): Record<string, unknown> {
  const extra = (key: 'code' | 'hint' | 'cause' | 'errors'): Record<string, unknown> => {
    const value: unknown = Reflect.get(error, key);
    return value === undefined ? {} : { [key]: value };
  };
  return {
    type: error.name,
    ...extra('code'),
    message: error.message,
    ...extra('hint'),
    ...extra('cause'),
    ...extra('errors'),
    stack: error.stack,
  };
}
