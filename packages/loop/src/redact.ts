// What must not reach a log: values under telling names, and credentials inside URLs.

import { isOutage } from './outage.ts';

const TELLING =
  /pass(?:word|wd|phrase)?$|secret|token|authori[sz]ation|cookie|dsn$|api[-_]?key|private[-_]?key|encryption[-_]?key|database[-_]?url|connection[-_]?string|credential/i;
/**
 * Up to the last @: of `//user:a@b@host` the password is `a@b`. The scheme is none of its business: looking for one took
 * the square of a long word without spaces, minutes for 200 kB in one line of the log.
 */
const URL_CREDENTIALS = /(?<=[a-z0-9+.-]:\/\/)[^\s/?#"]+@/gi;
const DEEPEST = 6;

export const REDACTED = '[redacted]';

/** `postgres://user:word@host/db` becomes `postgres://[redacted]@host/db`, anywhere in the text. */
export function redactText(text: string): string {
  return text.replace(URL_CREDENTIALS, `${REDACTED}@`);
}

/**
 * A copy in which every field with a telling name is redacted. Errors are written out with code, hint, cause and stack;
 * without stacks when they tell of something outside that does not answer.
 */
export function redactFields(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return redactEntries(fields, 0, true);
}

function redactEntries(
  fields: Readonly<Record<string, unknown>>,
  depth: number,
  withStacks: boolean,
): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(fields).map(([key, value]) => [
      key,
      TELLING.test(key) && value !== undefined && value !== null
        ? REDACTED
        : redactValue(value, depth + 1, withStacks),
    ]),
  );
}

function redactValue(value: unknown, depth: number, withStacks: boolean): unknown {
  if (typeof value === 'bigint') return value.toString();
  if (typeof value !== 'object' || value === null) return value;
  if (depth > DEEPEST) return '[deeper]';
  if (value instanceof Error) {
    const stacksHelp = withStacks && !isOutage(value);
    return redactEntries(describeError(value, stacksHelp), depth, stacksHelp);
  }
  if (Array.isArray(value)) return value.map((item) => redactValue(item, depth + 1, withStacks));
  if ('toJSON' in value && typeof value.toJSON === 'function') return value;
  return redactEntries({ ...value }, depth, withStacks);
}

function describeError(error: Error, withStack: boolean): Record<string, unknown> {
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
    ...(withStack ? { stack: error.stack } : {}),
  };
}
