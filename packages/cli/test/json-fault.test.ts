import { property, assert, json, nat, string } from 'fast-check';
import { describe, expect, test } from 'vitest';
import { jsonFault } from '../src/json-fault.ts';

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

describe('jsonFault', () => {
  test('agrees with JSON.parse on any text', () => {
    assert(property(string({ unit: 'binary' }), (text) => (jsonFault(text) === undefined) === isJson(text)));
  });

  test('agrees with JSON.parse on JSON in which one character was taken out or put in', () => {
    assert(
      property(json(), nat(), string({ maxLength: 2 }), (text, at, inserted) => {
        const broken = text.slice(0, at % text.length) + inserted + text.slice((at % text.length) + 1);
        return (jsonFault(broken) === undefined) === isJson(broken) && jsonFault(text) === undefined;
      }),
      { numRuns: 2_000 },
    );
  });

  test.each([
    ['{"a": tru}', 1, 7, 'a value', '"t"'],
    ['[1,]', 1, 4, 'a value', '"]"'],
    ['{"a" 1}', 1, 6, '":"', '"1"'],
    ['{"a": 01}', 1, 8, '"," or "}"', '"1"'],
    ['{\n  "a": 1\n  "b": 2\n}', 3, 3, '"," or "}"', '"\\""'],
    ['"a\nb"', 1, 3, 'the double quote that ends the text', '"\\n"'],
    ['"\\x"', 1, 2, 'an escape such as \\n or \\u00e9', '"\\\\"'],
    ['{} {}', 1, 4, 'nothing more', '"{"'],
  ])('finds the fault of %j', (text, line, column, expected, got) => {
    expect(jsonFault(text)).toMatchObject({ line, column, expected, got });
  });
});
