// From the bytes of a file to checked rows, whatever the format.

import { isUtf8 } from 'node:buffer';
import { setImmediate } from 'node:timers/promises';
import { createCsvReader, delimiterOf } from './csv-rows.ts';
import type { CsvMapping, CsvReader } from './csv-rows.ts';
import { BEGINNING_BYTES, detectFormat, withoutByteOrderMark } from './detect-format.ts';
import type { ImportFormat } from './detect-format.ts';
import { LongNumber, parseExactly } from './exact-json.ts';
import { ImportsError } from './imports-error.ts';
import { checkRow } from './item-row.ts';
import type { CheckedRow } from './item-row.ts';
import type { RawRow, RowSplitter } from './raw-row.ts';
import { splitCsv } from './split-csv.ts';
import { splitJson } from './split-json.ts';
import { splitLines } from './split-lines.ts';

export interface ReadRowsOptions {
  /** For the ending of its name. */
  readonly path: string;
  readonly format: ImportFormat | 'auto';
  readonly mapping: CsvMapping;
  /** Rows that are known already: they are cut out and not looked into. */
  readonly skip: number;
}

/** `number`: which row of the file, from 1. `bytes`: about how much memory it takes. */
export type Row = CheckedRow & { readonly number: number; readonly line: number; readonly bytes: number };

/** After so long others have a turn, in milliseconds: a relay, a heartbeat, an answer of the database. */
const TURN_MS = 5;

/** @throws IMPORTS_FILE_BROKEN, IMPORTS_FORMAT_UNKNOWN, IMPORTS_MAPPING_INVALID */
export async function* readRows(
  source: AsyncIterable<Buffer>,
  options: ReadRowsOptions,
): AsyncGenerator<Row> {
  const bytes = source[Symbol.asyncIterator]();
  const beginning = withoutByteOrderMark(await readBeginning(bytes));
  const format = options.format === 'auto' ? detectFormat(options.path, beginning) : options.format;
  const delimiter = format === 'csv' ? delimiterOf(options.mapping, beginning) : ',';
  const splitter = splitterOf(format, delimiter);
  const toRow = format === 'csv' ? csvRows(options.mapping, delimiter) : jsonRow;
  let number = 0;
  let turnEndsMs = performance.now() + TURN_MS;

  async function* take(raws: readonly RawRow[]): AsyncGenerator<Row> {
    for (const raw of raws) {
      const checked = toRow(raw, number < options.skip);
      if (checked === 'header') continue;
      number += 1;
      if (number > options.skip)
        yield { ...checked, number, line: raw.line, bytes: raw.fault === undefined ? raw.bytes.length : 0 };
      if (performance.now() < turnEndsMs) continue;
      await setImmediate();
      turnEndsMs = performance.now() + TURN_MS;
    }
  }

  try {
    yield* take(splitter.push(beginning));
    for (;;) {
      const { value: block, done } = await bytes.next();
      if (done === true) break;
      yield* take(splitter.push(block));
    }
    yield* take(splitter.end());
  } finally {
    await bytes.return?.();
  }
}

async function readBeginning(bytes: AsyncIterator<Buffer>): Promise<Buffer> {
  const parts: Buffer[] = [];
  for (let size = 0; size < BEGINNING_BYTES; ) {
    const { value, done } = await bytes.next();
    if (done === true) break;
    parts.push(value);
    size += value.length;
  }
  return parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts);
}

function splitterOf(format: ImportFormat, delimiter: string): RowSplitter {
  if (format === 'json') return splitJson();
  if (format === 'ndjson') return splitLines();
  return splitCsv({ delimiter: delimiter.charCodeAt(0) });
}

type ToRow = (raw: RawRow, known: boolean) => CheckedRow | 'header';

const KNOWN: CheckedRow = { fault: 'known' };

function jsonRow(raw: RawRow, known: boolean): CheckedRow {
  if (known) return KNOWN;
  if (raw.fault !== undefined) return { fault: raw.fault };
  if (!isUtf8(raw.bytes)) return { fault: 'expected text in UTF-8, got bytes that are none' };
  let row: unknown;
  try {
    row = parseExactly(raw.bytes.toString());
  } catch (error) {
    if (error instanceof LongNumber) return { fault: error.message };
    if (!(error instanceof SyntaxError)) throw error;
    return { fault: `expected JSON, got ${shortened(error.message)}` };
  }
  return checkRow(row);
}

/** The first record names the columns. */
function csvRows(mapping: CsvMapping, delimiter: string): ToRow {
  let reader: CsvReader | undefined;
  return (raw, known) => {
    if (reader === undefined) {
      if (raw.fault !== undefined) throw noHeader(raw.fault);
      reader = createCsvReader(raw.bytes, mapping, delimiter);
      return 'header';
    }
    if (known) return KNOWN;
    if (raw.fault !== undefined) return { fault: raw.fault };
    const read = reader.read(raw.bytes);
    return read.fault === undefined ? checkRow(read.row) : { fault: read.fault };
  };
}

function noHeader(fault: string): ImportsError {
  return new ImportsError('IMPORTS_MAPPING_INVALID', `the first line, which names the columns: ${fault}`, {
    hint: 'mend the file and retry',
  });
}

/** V8 quotes a part of the row, which may hold anything. */
function shortened(message: string): string {
  return message.replaceAll(/[\p{Cc}\p{Cf}\p{Cs}]/gu, ' ').slice(0, 200);
}
