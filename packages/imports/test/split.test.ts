// Where rows begin and end, however the bytes come in.

import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { RawRow, RowSplitter } from '../src/raw-row.ts';
import { splitCsv } from '../src/split-csv.ts';
import { splitJson } from '../src/split-json.ts';
import { splitLines } from '../src/split-lines.ts';

/** In parts of the given sizes, over and over. */
function split(splitter: RowSplitter, text: string | Buffer, sizes: readonly number[] = [65_536]): RawRow[] {
  const bytes = Buffer.from(text);
  const rows: RawRow[] = [];
  for (let at = 0, n = 0; at < bytes.length; n += 1) {
    const size = sizes[n % sizes.length] ?? 1;
    rows.push(...splitter.push(bytes.subarray(at, at + size)));
    at += size;
  }
  rows.push(...splitter.end());
  return rows;
}

function textOf(rows: readonly RawRow[]): string[] {
  return rows.map((row) => row.fault ?? row.bytes.toString());
}

const sizes = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 5 });
const spaces = fc.constantFrom(undefined, 1, '\t', '\n');

test('the elements of an array are cut out as JSON.parse sees them, whatever the parts', () => {
  fc.assert(
    fc.property(fc.array(fc.jsonValue()), spaces, sizes, (values, space, parts) => {
      const rows = split(splitJson(), JSON.stringify(values, undefined, space), parts);
      expect(textOf(rows).map((text) => JSON.parse(text) as unknown)).toEqual(
        JSON.parse(JSON.stringify(values)),
      );
    }),
  );
});

test('and those of an array inside an object, behind and before anything else', () => {
  const others = fc.dictionary(fc.constantFrom('a', 'itemsx', 'version', 'meta'), fc.jsonValue());
  const name = fc.constantFrom('items', 'data', 'export');
  fc.assert(
    fc.property(
      others,
      name,
      fc.array(fc.jsonValue()),
      others,
      sizes,
      (before, key, values, after, parts) => {
        const object = { ...before, [key]: values, ...after };
        // A name that JavaScript puts first would change what is tested.
        const text = JSON.stringify(object, undefined, 1);
        const rows = split(splitJson(), text, parts);
        expect(textOf(rows).map((row) => JSON.parse(row) as unknown)).toEqual(
          JSON.parse(JSON.stringify(values)),
        );
      },
    ),
  );
});

test('rows of an array have the line that they begin on', () => {
  const rows = split(splitJson(), '[\n{"a":\n1}, {"b":2},\n\n"x\\"]"\n]', [3]);
  expect(rows.map(({ line }) => line)).toEqual([2, 3, 5]);
  expect(textOf(rows)).toEqual(['{"a":\n1}', '{"b":2}', '"x\\"]"']);
});

test('a row that is broken inside is a row; one that is missing is a fault', () => {
  expect(textOf(split(splitJson(), '[{"a":},nonsense ,,{"b":1},]'))).toEqual([
    '{"a":}',
    'nonsense',
    'expected a row, got nothing between two commas',
    '{"b":1}',
    'expected a row after the comma, got the end of the array',
  ]);
  expect(textOf(split(splitJson(), '[]'))).toEqual([]);
});

test.each([
  ['[{"a":1}', 'the end of the file in the middle'],
  ['[{"a":"x', 'the end of the file in the middle'],
  ['{"items":[1,2', 'the end of the file in the middle'],
  ['{"items":[1,2]', 'the end of the file in the middle'],
  ['[1] [2]', 'more text'],
  ['[1] "x"', 'more text'],
  ['[1]x', 'more text'],
  ['[1}', '"}"'],
  ['[{} {}]', 'another row'],
  ['{"things":[1]}', 'found neither'],
  ['{"items":{"a":[1]}}', 'found neither'],
  ['{"x":{"items":[1]}}', 'found neither'],
  ['"x"', 'expected JSON to begin with'],
  ['   ', 'found neither'],
])('%s is said to be broken', (text, expected) => {
  expect(() => split(splitJson(), text, [2])).toThrow(expected);
});

test('a row that is too long is passed over without being kept, and the next one is there', () => {
  const long = `{"text":"${'x'.repeat(5_000)}\\"]}"}`;
  const fault = 'expected a row of at most 1,000 bytes, got a longer one';
  expect(textOf(split(splitJson(1_000), `[1,${long},2]`, [100]))).toEqual(['1', fault, '2']);
  expect(textOf(split(splitLines(1_000), `1\n${long}\n2`, [100]))).toEqual(['1', fault, '2']);
  expect(textOf(split(splitLines(1_000), `1\n${long}`, [10_000]))).toEqual(['1', fault]);
  const csv = splitCsv({ delimiter: 44, longestRowBytes: 1_000 });
  expect(textOf(split(csv, `1\n${'y'.repeat(5_000)}\n2\n`, [100]))).toEqual(['1', fault, '2']);
});

test('lines are rows; blank ones are none, and ends of either kind are taken off', () => {
  const rows = split(splitLines(), '{"a":1}\r\n\r\n  \n{"b":2}\n\n3', [2]);
  expect(textOf(rows)).toEqual(['{"a":1}', '{"b":2}', '3']);
  expect(rows.map(({ line }) => line)).toEqual([1, 4, 6]);
});

test('lines are the same, whatever the parts', () => {
  fc.assert(
    fc.property(fc.array(fc.stringMatching(/^[a-z"{}:]{1,20}$/)), sizes, (lines, parts) => {
      expect(textOf(split(splitLines(), lines.join('\n'), parts))).toEqual(lines);
    }),
  );
});

test('records of CSV are the same, whatever is quoted and whatever the parts', () => {
  const field = fc.string({ unit: fc.constantFrom('a', ',', '"', '\n', '\r\n', 'ü', ' '), maxLength: 8 });
  const record = fc.array(field, { minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(fc.array(record, { maxLength: 6 }), sizes, (records, parts) => {
      const texts = records.map((fields) =>
        fields.map((text) => `"${text.replaceAll('"', '""')}"`).join(','),
      );
      const rows = split(splitCsv({ delimiter: 44 }), `${texts.join('\r\n')}\r\n`, parts);
      expect(textOf(rows)).toEqual(texts);
    }),
  );
});

test('a quote that is never closed costs its own line', () => {
  const rows = split(splitCsv({ delimiter: 44 }), 'a,b\n1,"open\n2,x\n3,"y\nz"\n', [5]);
  // Which of two quotes is the stray one nobody can know: the first pair counts.
  expect(rows.length).toBeGreaterThan(1);
  const last = split(splitCsv({ delimiter: 44 }), 'a,b\n1,x\n2,"open\n3,x\n4,y\n', [5]);
  expect(textOf(last)).toEqual([
    'a,b',
    '1,x',
    'expected the quote that opens a field to be closed, but it is not',
    '3,x',
    '4,y',
  ]);
  expect(last.map(({ line }) => line)).toEqual([1, 2, 3, 4, 5]);
});

test('a quote that is never closed costs its own line in a file of any length, too', () => {
  const text = `a,b\n"open,1\n${'x,y\n'.repeat(2_000)}`;
  const rows = split(splitCsv({ delimiter: 44, longestRowBytes: 1_000 }), text, [300]);
  expect(rows.filter(({ fault }) => fault !== undefined)).toMatchObject([{ line: 2 }]);
  expect(rows).toHaveLength(2_002);
  expect(rows.at(-1)).toMatchObject({ line: 2_002 });
});
