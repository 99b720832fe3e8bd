// A payload as an operator types it: JSON, kept digit for digit, or a fault that shows where it breaks.

import type { JsonValue } from '@pulsebox/outbox';
import { CliError } from './cli-error.ts';
import { jsonFault } from './json-fault.ts';
import { printable } from './terminal.ts';

/** JSON.rawJSON and the third argument of a reviver: in Node 24, not in TypeScript's library yet. */
interface JsonWithSource {
  rawJSON(text: string): JsonValue;
  parse(
    text: string,
    reviver: (key: string, value: JsonValue, context: { source?: string }) => JsonValue,
  ): JsonValue;
}

// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- see JsonWithSource
const json = JSON as unknown as JsonWithSource;

/** How much of the text is shown before and after a fault. */
const SHOWN_BEFORE = 50;
const SHOWN_AFTER = 20;

/**
 * Numbers that JavaScript cannot hold, 12345678901234567890 or 1.10, are stored as they were typed.
 *
 * @param what names the text in a fault: `the payload`, `line 3`
 * @throws CLI_JSON_INVALID
 */
export function parsePayload(text: string, what: string): JsonValue {
  try {
    return json.parse(text, (key, value, { source }) => {
      assertStorable(key, what);
      if (typeof value === 'string') assertStorable(value, what);
      return typeof value === 'number' && source !== undefined && String(value) !== source
        ? json.rawJSON(source)
        : value;
    });
  } catch (error) {
    throw error instanceof CliError ? error : invalid(text, what, error);
  }
}

/** JSON that jsonb refuses; its own message would not say in which of a thousand lines. */
function assertStorable(text: string, what: string): void {
  if (!text.includes('\0') && text.isWellFormed()) return;
  const fault = text.includes('\0') ? 'the zero character \\u0000' : 'half of a surrogate pair';
  throw new CliError(
    'CLI_JSON_INVALID',
    `expected ${what} to be JSON that PostgreSQL can hold, got ${fault} in a text`,
    {
      hint: `remove it from ${JSON.stringify(text.slice(0, SHOWN_BEFORE))}`,
    },
  );
}

function invalid(text: string, what: string, cause: unknown): CliError {
  const fault = jsonFault(text);
  if (fault === undefined) {
    // JSON all the same: what failed is the walk through it.
    return new CliError(
      'CLI_JSON_INVALID',
      `expected ${what} to be JSON of reasonable depth, got one nested too deeply`,
      {
        hint: 'nest it less than a thousand levels deep',
        cause,
      },
    );
  }
  const { offset, line, column, expected, got } = fault;
  const place = text.includes('\n') ? `line ${line}, column ${column}` : `column ${column}`;
  const start = Math.max(text.lastIndexOf('\n', offset - 1) + 1, offset - SHOWN_BEFORE);
  const [shown = ''] = text.slice(start, offset + SHOWN_AFTER).split('\n');
  return new CliError(
    'CLI_JSON_INVALID',
    `expected ${what} to be JSON; at ${place}: expected ${expected}, got ${got}\n${printable(shown)}\n${' '.repeat(offset - start)}^`,
    {
      hint: `put the whole payload into single quotes, so that the shell leaves the double quotes in it: '{"item_id": "42"}'`,
      cause,
    },
  );
}
