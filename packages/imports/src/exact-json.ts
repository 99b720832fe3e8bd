// JSON in which long numbers keep all their digits: an id of 19 digits must not come out rounded.

/** `JSON.rawJSON` and the source text of a reviver are in Node 24, and not yet in TypeScript's library. */
interface ExactJSON {
  rawJSON(text: string): object;
  isRawJSON(value: unknown): boolean;
  parse(
    text: string,
    reviver: (this: unknown, key: string, value: unknown, context: { readonly source?: string }) => unknown,
  ): unknown;
}

const exact = JSON as unknown as ExactJSON;

/** A number that a double may not hold: of more than 15 digits, or with a large exponent. Also met in strings, at little cost. */
const LONG_NUMBER = /[:,[]\s*-?(?:[\d.]{16}|[\d.]+[eE][+-]?\d{2})/;

/**
 * PostgreSQL writes 1e131071 out, and a megabyte of such numbers is fifteen gigabytes of item, that nothing can read. Also
 * bounds what is done for each of them here.
 */
const MOST_DIGITS = 1_000;

export class LongNumber extends Error {}

/**
 * As `JSON.parse`, but numbers that a double would change come as raw JSON, which `JSON.stringify` writes as they were.
 *
 * @throws SyntaxError; LongNumber, whose message is what was expected and what came
 */
export function parseExactly(text: string): unknown {
  if (!LONG_NUMBER.test(text)) return JSON.parse(text);
  return exact.parse(text, (_key, value, { source }) => {
    if (typeof value !== 'number' || source === undefined) return value;
    assertShort(source);
    return isExact(value, source) ? value : exact.rawJSON(source);
  });
}

function assertShort(number: string): void {
  const [digits = '', exponent = '0'] = number.split(/[eE]/);
  if (digits.length <= MOST_DIGITS && Math.abs(Number(exponent)) <= MOST_DIGITS) return;
  const got = number.length <= 40 ? number : `one of ${number.length} characters`;
  throw new LongNumber(`expected numbers of at most ${MOST_DIGITS} digits, got ${got}`);
}

export function isRawNumber(value: unknown): boolean {
  return exact.isRawJSON(value);
}

function isExact(value: number, source: string): boolean {
  return Number.isFinite(value) && normalForm(String(value)) === normalForm(source);
}

/** `1.50e3`, `1500`, `1500.0` → the same: sign, digits without zeros around them, exponent. */
function normalForm(number: string): string {
  const [, sign = '', whole = '', fraction = '', exponent = '0'] =
    /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(number) ?? [];
  const digits = (whole + fraction).replace(/^0+/, '');
  const shortened = digits.replace(/0+$/, '');
  if (shortened === '') return '0';
  return `${sign}${shortened}e${BigInt(exponent) - BigInt(fraction.length) + BigInt(digits.length - shortened.length)}`;
}
