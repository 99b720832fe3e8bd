// CSV in the native form: which column is which field. csv-parse reads the fields of a record.

import { isUtf8 } from 'node:buffer';
import { CsvError, parse } from 'csv-parse/sync';
import { ImportsError } from './imports-error.ts';

export interface CsvMapping {
  /**
   * Fields and the names of their columns: `{ canonical_id: 'ID', name: 'Title' }`. `canonical_id`, `source`,
   * `created_at` and `updated_at` belong to the row, every other field to the item. Columns that are not named here
   * become fields of the item under their own names.
   */
  readonly columns?: Readonly<Record<string, string>>;
  /** One character. Default: comma, semicolon or tab, whichever the first line has most of. */
  readonly delimiter?: string;
}

const ROW_FIELDS: ReadonlySet<string> = new Set(['canonical_id', 'source', 'created_at', 'updated_at']);
const DELIMITERS = [',', ';', '\t'] as const;

/** @throws IMPORTS_MAPPING_INVALID */
export function parseMapping(value: unknown): CsvMapping {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw invalid('a mapping to be an object', value);
  const { columns, delimiter, ...others } = value as Readonly<Record<string, unknown>>;
  const [stranger] = Object.keys(others);
  if (stranger !== undefined) throw invalid('a mapping of columns and delimiter', stranger);
  if (delimiter !== undefined && !isDelimiter(delimiter))
    throw invalid('delimiter to be one character of ASCII that is no quote and no end of line', delimiter);
  if (columns === undefined) return delimiter === undefined ? {} : { delimiter };
  if (typeof columns !== 'object' || columns === null || Array.isArray(columns))
    throw invalid('columns to be an object of fields and columns', columns);
  for (const [field, column] of Object.entries(columns)) {
    if (field !== '' && typeof column === 'string' && column !== '') continue;
    throw invalid(`the column of ${JSON.stringify(field)} to be the name of one`, column);
  }
  return { columns: columns as Record<string, string>, ...(delimiter === undefined ? {} : { delimiter }) };
}

function isDelimiter(value: unknown): value is string {
  return typeof value === 'string' && /^[\t\x20-\x7e]$/.test(value) && value !== '"';
}

export function delimiterOf(mapping: CsvMapping, beginning: Buffer): string {
  if (mapping.delimiter !== undefined) return mapping.delimiter;
  const [header = ''] = beginning.toString('latin1').split('\n', 1);
  const unquoted = header.replaceAll(/"[^"]*"/g, '');
  const counts = DELIMITERS.map((delimiter) => unquoted.split(delimiter).length);
  return DELIMITERS[counts.indexOf(Math.max(...counts))] ?? ',';
}

/** What a record is read with, once the first line has said what the columns are. */
export interface CsvReader {
  /** A row in the native form, to be checked like any other; or what is wrong with the record. */
  read(record: Buffer): { readonly row: unknown; readonly fault?: undefined } | { readonly fault: string };
}

/** @throws IMPORTS_MAPPING_INVALID */
export function createCsvReader(header: Buffer, mapping: CsvMapping, delimiter: string): CsvReader {
  const names = fieldsOf(header, delimiter);
  if ('fault' in names) throw invalid(`the first line to be names of columns; ${names.fault}`, undefined);
  const columns = names.fields.map((name) => name.trim());
  const twice = columns.find((name, index) => name !== '' && columns.indexOf(name) !== index);
  if (twice !== undefined) throw invalid('columns to have names of their own, but two are', twice);
  const fields = new Map(Object.entries(mapping.columns ?? {}).map(([field, column]) => [column, field]));
  const absent = [...fields.keys()].find((column) => !columns.includes(column));
  if (absent !== undefined)
    throw invalid(
      `the columns of the mapping among ${columns
        .map((name) => JSON.stringify(name))
        .join(', ')
        .slice(0, 500)}`,
      absent,
    );
  const targets = columns.map((column) => fields.get(column) ?? column);
  const missing = ['canonical_id', 'name'].find((field) => !targets.includes(field));
  if (missing !== undefined) {
    throw invalid(`a column for ${missing}; there are`, columns.join(', ').slice(0, 500));
  }

  return {
    read(record): ReturnType<CsvReader['read']> {
      const found = fieldsOf(record, delimiter);
      if ('fault' in found) return found;
      if (found.fields.length !== columns.length)
        return {
          fault: `expected ${columns.length} fields, as the first line has, got ${found.fields.length}`,
        };
      const row: [string, unknown][] = [];
      const item: [string, unknown][] = [];
      for (const [index, value] of found.fields.entries()) {
        const target = targets[index] ?? '';
        // A cell that is empty says nothing; a column without a name cannot be called anything.
        if (value === '' || target === '') continue;
        (ROW_FIELDS.has(target) ? row : item).push([target, value]);
      }
      return { row: { ...Object.fromEntries(row), item: Object.fromEntries(item) } };
    },
  };
}

function fieldsOf(
  record: Buffer,
  delimiter: string,
): { readonly fields: readonly string[] } | { readonly fault: string } {
  if (!isUtf8(record)) return { fault: 'expected text in UTF-8, got bytes that are none' };
  const text = record.toString();
  // Most records have no quote, and then there is nothing to it; csv-parse takes 20 µs to begin with each.
  if (!text.includes('"')) return { fields: text.split(delimiter) };
  try {
    const [fields = [], ...others] = parse(text, { delimiter, relax_column_count: true });
    return others.length === 0 ? { fields } : { fault: 'expected one record, got several' };
  } catch (error) {
    if (!(error instanceof CsvError)) throw error;
    return { fault: `expected a record in CSV, got one with a fault: ${reasonOf(error)}` };
  }
}

/** Its messages speak of "line 1", which it is of the record. */
function reasonOf({ code }: CsvError): string {
  if (code === 'INVALID_OPENING_QUOTE') return 'a quote inside a field that is not quoted';
  if (code === 'CSV_INVALID_CLOSING_QUOTE') return 'text behind the quote that closes a field';
  return code === 'CSV_QUOTE_NOT_CLOSED'
    ? 'a quote that is not closed'
    : code.toLowerCase().replaceAll('_', ' ');
}

function invalid(expected: string, got: unknown): ImportsError {
  return new ImportsError(
    'IMPORTS_MAPPING_INVALID',
    `expected ${expected}${got === undefined ? '' : `, got ${JSON.stringify(got).slice(0, 600)}`}`,
    { hint: 'for instance {"columns": {"canonical_id": "ID", "name": "Title"}, "delimiter": ";"}' },
  );
}
