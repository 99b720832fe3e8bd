// The kinds of environment variables that an application can declare.

import { LONGEST_TIMER_MS } from './sleep.ts';

/** What an application declares of one variable. `T` is what it gets. */
export interface Variable<T> {
  /** One sentence, for --help and docs/configuration.md. */
  readonly description: string;
  /** Completes the sentence "expected X to be …". */
  readonly expected: string;
  /** Its value is never shown, not even in a fault. */
  readonly secret: boolean;
  readonly required: boolean;
  /** As a person would write it; undefined when there is none. Never set for a secret. */
  readonly defaultText: string | undefined;
  /** `undefined`: unset. Throws nothing: a value that cannot be used gives `{ fault: true }`. */
  parse(raw: string | undefined): Parsed<T>;
}

/** `expected`: of this fault, where the variable's own words do not say what is wrong. */
export type Parsed<T> =
  | { readonly fault: false; readonly value: T }
  | { readonly fault: true; readonly expected?: string };

export interface VariableOptions<T> {
  readonly description: string;
  /** Without a default the variable must be set. */
  readonly default?: T;
}

interface Kind<T> extends VariableOptions<T> {
  readonly expected: string;
  readonly secret?: boolean;
  /** undefined: cannot be used. */
  readonly read: (raw: string) => T | undefined;
}

function variable<T>(kind: Kind<T>): Variable<T> {
  const { description, expected, secret = false, read } = kind;
  const fallback = kind.default;
  return {
    description,
    expected,
    secret,
    required: fallback === undefined,
    defaultText: fallback === undefined || secret ? undefined : String(fallback),
    parse(raw: string | undefined): Parsed<T> {
      const value = raw === undefined ? fallback : read(raw);
      return value === undefined ? { fault: true } : { fault: false, value };
    },
  };
}

/** Makes any variable one that may be left unset; it is `undefined` then. */
export function optional<T>(of: Variable<T>): Variable<T | undefined> {
  return {
    ...of,
    required: false,
    parse: (raw: string | undefined) =>
      raw === undefined ? { fault: false, value: undefined } : of.parse(raw),
  };
}

export function string(options: VariableOptions<string>): Variable<string> {
  return variable({ ...options, expected: 'a text', read: (raw) => raw });
}

/** A text that is never shown: a password, a token, a key. */
export function secret(options: VariableOptions<string>): Variable<string> {
  return variable({ ...options, expected: 'set', secret: true, read: (raw) => raw });
}

export interface IntegerOptions extends VariableOptions<number> {
  /** Default 0. */
  readonly min?: number;
  readonly max?: number;
}

export function integer(options: IntegerOptions): Variable<number> {
  const { min = 0, max = Number.MAX_SAFE_INTEGER } = options;
  const range = options.max === undefined ? `from ${min} up` : `from ${min} to ${max}`;
  return variable({
    ...options,
    expected: `a whole number ${range}`,
    read: (raw) => {
      const value = /^[+-]?\d+$/.test(raw) ? Number(raw) : Number.NaN;
      return Number.isSafeInteger(value) && value >= min && value <= max ? value : undefined;
    },
  });
}

export interface PositiveNumberOptions extends VariableOptions<number> {
  /** The least it may be, when that is more than "above 0". */
  readonly min?: number;
}

export function positiveNumber(options: PositiveNumberOptions): Variable<number> {
  const { min } = options;
  return variable({
    ...options,
    expected: min === undefined ? 'a positive number' : `a number of ${min} or more`,
    read: (raw) => {
      const value = positive(raw);
      return value !== undefined && value >= (min ?? 0) ? value : undefined;
    },
  });
}

/** 24 days. Beyond it a timer fires at once: a lease of half a year was lost in the moment it was taken. */
const LONGEST_TIMER_SECONDS = Math.floor(LONGEST_TIMER_MS / 1_000);

/** A duration in seconds, fractions allowed; at most 2,147,483. */
export function seconds(options: VariableOptions<number>): Variable<number> {
  const some = variable({ ...options, expected: 'a positive number', read: positive });
  return {
    ...some,
    parse(raw: string | undefined): Parsed<number> {
      const parsed = some.parse(raw);
      return parsed.fault || parsed.value <= LONGEST_TIMER_SECONDS
        ? parsed
        : { fault: true, expected: `a positive number of seconds up to ${LONGEST_TIMER_SECONDS}` };
    },
  };
}

/** A share: from 0 to 1, both included. */
export function fraction(options: VariableOptions<number>): Variable<number> {
  return variable({
    ...options,
    expected: 'a number from 0 to 1',
    read: (raw) => (/^(?:0?\.\d+|0|1(?:\.0*)?)$/.test(raw) ? Number(raw) : undefined),
  });
}

/** `true`, `yes`, `on`, `1` and their opposites, in any case. */
export function boolean(options: VariableOptions<boolean>): Variable<boolean> {
  return variable({
    ...options,
    expected: 'true or false',
    read: (raw) => {
      if (/^(?:true|yes|on|1)$/i.test(raw)) return true;
      return /^(?:false|no|off|0)$/i.test(raw) ? false : undefined;
    },
  });
}

/** A TCP port; 0 takes any free one. */
export function port(options: VariableOptions<number>): Variable<number> {
  return { ...integer({ ...options, max: 65_535 }), expected: 'a port from 0 to 65535' };
}

export interface UrlOptions extends VariableOptions<string> {
  /** With the colon: `['http:', 'https:']`, the default. */
  readonly protocols?: readonly string[];
  /** True for one that carries a password, such as DATABASE_URL. */
  readonly secret?: boolean;
}

export function url(options: UrlOptions): Variable<string> {
  const { protocols = ['http:', 'https:'] } = options;
  return variable({
    ...options,
    expected: `a URL that starts with ${protocols.map((protocol) => `${protocol}//`).join(' or ')}`,
    read: (raw) => (URL.canParse(raw) && protocols.includes(new URL(raw).protocol) ? raw : undefined),
  });
}

/** One out of a closed list of words. */
export function oneOf<const T extends string>(words: readonly T[], options: VariableOptions<T>): Variable<T> {
  return variable({
    ...options,
    expected: `one of ${words.join(', ')}`,
    read: (raw) => words.find((word) => word === raw.toLowerCase()),
  });
}

function positive(raw: string): number | undefined {
  // Number() alone would take "0x10" and "1e3" for what a person meant.
  const value = /^\+?(?:\d+\.?\d*|\.\d+)$/.test(raw) ? Number(raw) : Number.NaN;
  return value > 0 && Number.isFinite(value) ? value : undefined;
}
