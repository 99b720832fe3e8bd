// What every contestant carries: JSON of about 200 bytes.

/** Together with the id and the punctuation of JSON this makes 200 bytes. */
const FILLER = 'x'.repeat(178);

export interface BenchPayload {
  readonly id: number;
  readonly data: string;
}

export function payload(id: number): BenchPayload {
  return { id, data: FILLER };
}

/** The same in SQL, of a column `i`. */
export const PAYLOAD_SQL = `jsonb_build_object('id', i, 'data', repeat('x', 178))`;
