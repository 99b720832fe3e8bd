// Ids of rows: as payloads carry them, as the view's column has them, and as Meilisearch accepts them.

import type { JsonValue } from '@pulsebox/outbox';
import type { IdType } from './projection.ts';

/** Together with its escape it fits into the 511 bytes that Meilisearch gives an id. */
export const LONGEST_ID_BYTES = 380;

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const WHOLE_NUMBER = /^(0|-?[1-9][0-9]{0,18})$/;

const RANGES: Readonly<Record<'bigint' | 'integer', readonly [bigint, bigint]>> = {
  bigint: [-(2n ** 63n), 2n ** 63n - 1n],
  integer: [-(2n ** 31n), 2n ** 31n - 1n],
};

/**
 * The id as PostgreSQL would print it, or undefined when the column cannot hold such a value: compared with the column
 * it would be an error of the whole query, and one bad event would hold up its group.
 */
export function canonicalId(value: JsonValue | undefined, type: IdType): string | undefined {
  if (typeof value !== 'string' && !(typeof value === 'number' && Number.isSafeInteger(value)))
    return undefined;
  const text = String(value);
  if (type === 'text') return isStorable(text) ? text : undefined;
  if (type === 'uuid') return UUID.test(text.toLowerCase()) ? text.toLowerCase() : undefined;
  const [lowest, highest] = RANGES[type];
  return WHOLE_NUMBER.test(text) && BigInt(text) >= lowest && BigInt(text) <= highest ? text : undefined;
}

/** Whether a document may have this id, in either sink: one may replace the other at any time. */
export function isStorable(id: string): boolean {
  return id !== '' && Buffer.byteLength(id) <= LONGEST_ID_BYTES && !id.includes('\0') && id.isWellFormed();
}

const PLAIN = /^[A-Za-z0-9_-]+$/;
const ESCAPE = 'b64-';

/**
 * The id in Meilisearch, which takes letters, digits, `_` and `-` only: such an id as it is, any other as `b64-` and
 * its UTF-8 bytes in base64url. An id that looks escaped is escaped, so that no two ids ever meet.
 */
export function encodeId(id: string): string {
  return PLAIN.test(id) && !id.startsWith(ESCAPE) ? id : ESCAPE + Buffer.from(id).toString('base64url');
}

/** The id that `encodeId` made this of. */
export function decodeId(encoded: string): string {
  return encoded.startsWith(ESCAPE)
    ? Buffer.from(encoded.slice(ESCAPE.length), 'base64url').toString()
    : encoded;
}
