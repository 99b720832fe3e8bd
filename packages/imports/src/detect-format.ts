// Which format a file has, when nobody says: by its name, then by what it begins with.

import { ImportsError } from './imports-error.ts';
import { ROW_KEYS } from './split-json.ts';

export const importFormats = ['json', 'ndjson', 'csv'] as const;
export type ImportFormat = (typeof importFormats)[number];

/** As much of a file as is looked at, in bytes. */
export const BEGINNING_BYTES = 65_536;

/**
 * @param path for its ending; `.gz` at the end is passed over
 * @param beginning the first bytes, unpacked, without a byte order mark
 * @throws IMPORTS_FORMAT_UNKNOWN
 */
export function detectFormat(path: string, beginning: Buffer): ImportFormat {
  const [, ending] = /\.(\w+?)$/.exec(path.toLowerCase().replace(/\.gz$/, '')) ?? [];
  if (ending === 'csv' || ending === 'tsv') return 'csv';
  if (ending === 'ndjson' || ending === 'jsonl') return 'ndjson';
  const text = beginning.toString('latin1').trimStart();
  if (text.startsWith('[')) return 'json';
  if (text.startsWith('{')) return isArrayInside(text, ending === 'json') ? 'json' : 'ndjson';
  if (ending === 'json' || text === '' || /^\p{Cc}/u.test(text)) {
    throw new ImportsError(
      'IMPORTS_FORMAT_UNKNOWN',
      text === ''
        ? 'expected rows, got an empty file'
        : `expected JSON to begin with [ or {, got ${JSON.stringify(text.slice(0, 20))}`,
      {
        hint: 'a file is JSON, NDJSON or CSV, plain or packed with gzip; name its format if it cannot be seen',
      },
    );
  }
  return 'csv';
}

/** @throws IMPORTS_FORMAT_UNKNOWN for UTF-16 and UTF-32 */
export function withoutByteOrderMark(beginning: Buffer): Buffer {
  if (beginning[0] === 0xef && beginning[1] === 0xbb && beginning[2] === 0xbf) return beginning.subarray(3);
  const mark = beginning.length < 2 ? 0 : beginning.readUInt16BE(0);
  if (mark !== 0xfffe && mark !== 0xfeff) return beginning;
  throw new ImportsError('IMPORTS_FORMAT_UNKNOWN', 'expected text in UTF-8, got UTF-16', {
    hint: 'save the file as UTF-8, for instance with `iconv -f UTF-16 -t UTF-8`, and retry',
  });
}

/** One row a line, or one object around all rows? The first line of NDJSON is an object by itself. */
function isArrayInside(text: string, namedJson: boolean): boolean {
  const end = text.indexOf('\n');
  const firstLine = end === -1 ? text : text.slice(0, end);
  try {
    const value = JSON.parse(firstLine) as Record<string, unknown>;
    // Alone in the file, it may be either; a row has an id.
    const alone = end === -1 || text.slice(end).trim() === '';
    return alone && !('canonical_id' in value) && ROW_KEYS.some((key) => Array.isArray(value[key]));
  } catch {
    // More than this line, or broken: its name settles it, or an array under one of the names.
    if (namedJson) return true;
    return new RegExp(`"(?:${ROW_KEYS.join('|')})"\\s*:\\s*\\[`).test(text) || firstLine.trim() === '{';
  }
}
