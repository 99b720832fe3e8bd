// Cuts CSV into records: a line end inside quotes belongs to its field.
//
// csv-parse reads what is inside a record (csv-rows.ts). Cutting is ours, since after a fault csv-parse hands out half a
// record as a whole one, or takes everything behind a quote that is never closed for one field. Here such a record costs
// its first line: reading goes on behind it.

import { CARRIAGE_RETURN, LINE_FEED, LONGEST_ROW_BYTES, QUOTE, tooLong } from './raw-row.ts';
import type { RawRow, RowSplitter } from './raw-row.ts';

export interface SplitCsvOptions {
  /** One byte. */
  readonly delimiter: number;
  readonly longestRowBytes?: number | undefined;
}

export function splitCsv(options: SplitCsvOptions): RowSplitter {
  const { delimiter, longestRowBytes = LONGEST_ROW_BYTES } = options;
  let carry: Buffer = Buffer.alloc(0);
  /** How much of `carry` has been looked at. */
  let scanned = 0;
  /** Of the record that `carry` begins with. */
  let line = 1;
  /** Line ends inside it. */
  let linesWithin = 0;
  let quoted = false;
  /** The next byte begins a field: only there a quote opens. */
  let fieldStart = true;
  /** The last byte was a quote that closed a field, or the first of two that stand for one inside it. */
  let justClosed = false;
  /** A line too long even without quotes: passed over up to its end. */
  let passing = false;

  function reset(lines: number): void {
    line += lines;
    linesWithin = 0;
    quoted = false;
    fieldStart = true;
    justClosed = false;
    passing = false;
  }

  function take(record: Buffer, rows: RawRow[]): void {
    const end = record.at(-1) === CARRIAGE_RETURN ? record.length - 1 : record.length;
    if (passing || end > longestRowBytes) rows.push({ line, fault: tooLong(longestRowBytes) });
    else if (end > 0) rows.push({ line, bytes: record.subarray(0, end) });
  }

  /** Looks through `data` from `scanned` on; what is left becomes `carry`. */
  function scan(data: Buffer, rows: RawRow[]): void {
    let start = 0;
    let at = scanned;
    for (; at < data.length; at += 1) {
      const byte = data[at];
      if (quoted) {
        if (byte === LINE_FEED) linesWithin += 1;
        else if (byte === QUOTE) {
          quoted = false;
          justClosed = true;
        }
        continue;
      }
      // Two of them are one inside the field: the second opens it again.
      if (byte === QUOTE) quoted = fieldStart || justClosed;
      else if (byte === LINE_FEED) {
        take(data.subarray(start, at), rows);
        start = at + 1;
        reset(linesWithin + 1);
        continue;
      }
      fieldStart = byte === delimiter;
      justClosed = false;
    }
    carry = start === 0 ? data : data.subarray(start);
    scanned = carry.length;
  }

  /** A quote is open, and has been over the end of a line. */
  function isUnclosed(): boolean {
    return quoted && linesWithin > 0;
  }

  /** The record has no end: its first line is the fault, and what follows is looked at as if it began there. */
  function giveUpFirstLine(rows: RawRow[]): void {
    const end = carry.indexOf(LINE_FEED);
    rows.push({ line, fault: 'expected the quote that opens a field to be closed, but it is not' });
    reset(1);
    scanned = 0;
    scan(carry.subarray(end + 1), rows);
  }

  /** True: nothing is left to do for a record that grows too long. */
  function bounded(rows: RawRow[]): boolean {
    if (carry.length <= longestRowBytes + 1) return true;
    if (isUnclosed()) {
      giveUpFirstLine(rows);
      return false;
    }
    passing = true;
    quoted = false;
    fieldStart = false;
    carry = Buffer.alloc(0);
    scanned = 0;
    return true;
  }

  return {
    push(bytes: Buffer): readonly RawRow[] {
      const rows: RawRow[] = [];
      if (passing) {
        const end = bytes.indexOf(LINE_FEED);
        if (end === -1) return rows;
        take(Buffer.alloc(0), rows);
        reset(linesWithin + 1);
        scanned = 0;
        scan(bytes.subarray(end + 1), rows);
      } else scan(carry.length === 0 ? bytes : Buffer.concat([carry, bytes]), rows);
      while (!bounded(rows));
      return rows;
    },
    end(): readonly RawRow[] {
      const rows: RawRow[] = [];
      while (isUnclosed()) giveUpFirstLine(rows);
      if (quoted)
        rows.push({ line, fault: 'expected the quote that opens a field to be closed, but it is not' });
      else if (passing || carry.length > 0) take(carry, rows);
      carry = Buffer.alloc(0);
      return rows;
    },
  };
}
