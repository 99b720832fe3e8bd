// Cuts NDJSON: a row a line. Empty lines are passed over.

import { CARRIAGE_RETURN, LINE_FEED, LONGEST_ROW_BYTES, tooLong } from './raw-row.ts';
import type { RawRow, RowSplitter } from './raw-row.ts';

export function splitLines(longestRowBytes: number = LONGEST_ROW_BYTES): RowSplitter {
  let carry: Buffer = Buffer.alloc(0);
  /** Of the row that `carry` is the beginning of. */
  let line = 1;
  /** The present line was too long, and is passed over up to its end. */
  let passing = false;

  function take(bytes: Buffer, rows: RawRow[]): void {
    const end = bytes.at(-1) === CARRIAGE_RETURN ? bytes.length - 1 : bytes.length;
    if (passing || end > longestRowBytes) rows.push({ line, fault: tooLong(longestRowBytes) });
    else if (!isBlank(bytes, end)) rows.push({ line, bytes: bytes.subarray(0, end) });
    passing = false;
  }

  return {
    push(bytes: Buffer): readonly RawRow[] {
      const rows: RawRow[] = [];
      // What was carried has no end of line in it.
      let searchFrom = passing ? 0 : carry.length;
      const data = carry.length === 0 ? bytes : Buffer.concat([carry, bytes]);
      let start = 0;
      for (;;) {
        const end = data.indexOf(LINE_FEED, searchFrom);
        if (end === -1) break;
        take(data.subarray(start, end), rows);
        line += 1;
        start = end + 1;
        searchFrom = start;
      }
      carry = data.subarray(start);
      // One more, for a carriage return that is not part of the row.
      if (passing || carry.length > longestRowBytes + 1) {
        passing = true;
        carry = Buffer.alloc(0);
      }
      return rows;
    },
    end(): readonly RawRow[] {
      const rows: RawRow[] = [];
      if (passing || carry.length > 0) take(carry, rows);
      carry = Buffer.alloc(0);
      return rows;
    },
  };
}

function isBlank(bytes: Buffer, end: number): boolean {
  for (let at = 0; at < end; at += 1) {
    const byte = bytes[at];
    if (byte !== 0x20 && byte !== 0x09) return false;
  }
  return true;
}
