// A row in the native form, checked as a whole, as the columns of an item.

import { hash } from 'node:crypto';
import { isRawNumber } from './exact-json.ts';

/** `{ canonical_id, item, source, created_at, updated_at }`, of which the first two must be there. */
export interface ItemRow {
  readonly canonicalId: string;
  readonly name: string;
  readonly text: string;
  /** What else the item has, as JSON with its names in order. */
  readonly data: string;
  readonly source: string | null;
  readonly createdAt: string | null;
  readonly updatedAt: string | null;
  readonly completed: boolean;
  /** SHA-256 over name, text, data and source. Times are left out: they say when, not what. */
  readonly contentHash: Buffer;
}

/** `fault`: what was expected and what came, in one sentence. */
export type CheckedRow = { readonly item: ItemRow; readonly fault?: undefined } | { readonly fault: string };

const FIELDS: ReadonlySet<string> = new Set(['canonical_id', 'item', 'source', 'created_at', 'updated_at']);

/** An index entry holds 2,700 bytes, and the organisation is in it as well. */
const LONGEST_ID_BYTES = 1_000;
/** The least of what JSON.stringify, PostgreSQL and readers of the item can take, by far. */
const DEEPEST = 100;

/** In what JSON.stringify writes: a zero character or half of a surrogate pair, and not an escaped backslash before. */
const NOT_FOR_POSTGRES = /(?<!\\)(?:\\\\)*\\u(?:0000|d[89a-f][0-9a-f]{2})/;

/** With an offset or without one, which is taken as UTC. */
const MOMENT = /^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?) ?(Z|[+-]\d{2}:?\d{2})?)?$/;

class Fault extends Error {}

export function checkRow(row: unknown): CheckedRow {
  try {
    return { item: itemOf(row) };
  } catch (error) {
    if (error instanceof Fault) return { fault: error.message };
    throw error;
  }
}

function itemOf(row: unknown): ItemRow {
  if (!isObject(row)) throw expected('a row to be an object', row);
  const stranger = Object.keys(row).find((name) => !FIELDS.has(name));
  if (stranger !== undefined) {
    throw new Fault(
      `expected a row of canonical_id, item, source, created_at and updated_at, got ${described(stranger)} as well; what belongs to the item goes into item`,
    );
  }
  const { item } = row;
  if (!isObject(item)) throw expected('item to be an object', item);
  const { name, text, ...rest } = item;
  if (typeof name !== 'string' || name.trim() === '') throw expected('item.name to be a text', name);
  if (text !== undefined && text !== null && typeof text !== 'string')
    throw expected('item.text to be a text', text);
  const content = { name, text: text ?? '', source: sourceOf(row['source']) };
  const data = JSON.stringify(inOrder(rest, 2));
  const written = JSON.stringify([content.name, content.text, content.source]);
  if (isNotForPostgres(written) || isNotForPostgres(data)) {
    throw new Fault(
      'expected text of whole characters, got a zero character or half of a surrogate pair, which PostgreSQL cannot store',
    );
  }
  return {
    ...content,
    canonicalId: canonicalIdOf(row['canonical_id']),
    data,
    createdAt: momentOf('created_at', row['created_at']),
    updatedAt: momentOf('updated_at', row['updated_at']),
    completed: isCompleted(item),
    contentHash: hash('sha256', `1 ${written} ${data}`, 'buffer'),
  };
}

type Fields = Readonly<Record<string, unknown>>;

function isObject(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !isRawNumber(value);
}

function canonicalIdOf(value: unknown): string {
  const text = typeof value === 'number' && Number.isSafeInteger(value) ? String(value) : value;
  // A longer number is as good an id as any, with all its digits.
  const id = isRawNumber(text) ? JSON.stringify(text) : text;
  if (typeof id !== 'string' || id.trim() === '')
    throw expected('canonical_id to be a text or a whole number', value);
  if (Buffer.byteLength(id) > LONGEST_ID_BYTES)
    throw new Fault(
      `expected canonical_id to have at most ${LONGEST_ID_BYTES} bytes, got ${Buffer.byteLength(id)}`,
    );
  if (id.includes('\0') || !id.isWellFormed())
    throw new Fault(
      'expected canonical_id to have whole characters, got a zero character or half of a surrogate pair',
    );
  return id;
}

function sourceOf(value: unknown): string | null {
  if (value === undefined || value === null) return null;
  if (typeof value === 'string' && Buffer.byteLength(value) <= LONGEST_ID_BYTES) return value;
  throw expected(`source to be a text of at most ${LONGEST_ID_BYTES} bytes`, value);
}

function momentOf(field: string, value: unknown): string | null {
  if (value === undefined || value === null || value === '') return null;
  const [, date = '', time = '00:00', offset = 'Z'] =
    (typeof value === 'string' ? MOMENT.exec(value.trim()) : null) ?? [];
  const text = `${date}T${time}${offset}`;
  const day = Date.parse(`${date}T00:00Z`);
  const exists = Number.isFinite(Date.parse(text)) && new Date(day).toISOString().startsWith(date);
  if (date !== '' && exists && !date.startsWith('0000')) return text;
  throw expected(`${field} to be a moment such as 2026-11-21T15:00:00Z`, value);
}

/** As exports of task lists say it: `completed: true`, a time in `completed_at`, or the status `completed` or `done`. */
function isCompleted({ completed, completed_at: completedAt, status }: Fields): boolean {
  if (completed === true || (typeof completed === 'string' && /^(?:true|yes|1)$/i.test(completed)))
    return true;
  if (typeof completedAt === 'string' && completedAt !== '') return true;
  return typeof status === 'string' && /^(?:completed|done)$/i.test(status);
}

/** The same content has the same text, in whatever order an export writes its names. */
function inOrder(value: unknown, depth: number): unknown {
  if (typeof value !== 'object' || value === null || isRawNumber(value)) return value;
  if (depth > DEEPEST) throw new Fault(`expected an item of at most ${DEEPEST} levels, got a deeper one`);
  if (Array.isArray(value)) return value.map((element) => inOrder(element, depth + 1));
  const names = Object.keys(value).toSorted();
  // Object.fromEntries takes `__proto__` for a name like any other.
  return Object.fromEntries(names.map((name) => [name, inOrder((value as Fields)[name], depth + 1)]));
}

function isNotForPostgres(json: string): boolean {
  return json.includes('\\u') && NOT_FOR_POSTGRES.test(json);
}

function expected(what: string, got: unknown): Fault {
  return new Fault(`expected ${what}, got ${described(got)}`);
}

/** What came, without spilling a whole document into a message. */
function described(value: unknown): string {
  if (value === undefined) return 'none';
  if (value === null) return 'null';
  if (typeof value === 'string') {
    return value.length <= 60
      ? JSON.stringify(value.replaceAll('\0', ' ').toWellFormed())
      : `a text of ${value.length} characters`;
  }
  if (Array.isArray(value)) return 'an array';
  return typeof value === 'object' && !isRawNumber(value) ? 'an object' : JSON.stringify(value);
}
