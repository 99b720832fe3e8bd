// A row as it was cut out of its file, before anybody has looked into it.

export type RawRow =
  | { readonly line: number; readonly bytes: Buffer; readonly fault?: undefined }
  /** It was not even cut out: too long, or nothing between two commas. One sentence for people. */
  | { readonly line: number; readonly fault: string };

/** Cuts rows out of a stream. Keeps no more than the longest row of what it was given. */
export interface RowSplitter {
  /** The rows that end in what has come so far. @throws IMPORTS_FILE_BROKEN, IMPORTS_FORMAT_UNKNOWN */
  push(bytes: Buffer): readonly RawRow[];
  /** Nothing more comes: the rows that are left. @throws IMPORTS_FILE_BROKEN, IMPORTS_FORMAT_UNKNOWN */
  end(): readonly RawRow[];
}

/** The longest row, in bytes. A longer one is reported and passed over without being kept. */
export const LONGEST_ROW_BYTES = 1_048_576;

export function tooLong(longestBytes: number): string {
  return `expected a row of at most ${longestBytes.toLocaleString('en-US')} bytes, got a longer one`;
}

export const LINE_FEED = 0x0a;
export const CARRIAGE_RETURN = 0x0d;
export const QUOTE = 0x22;
