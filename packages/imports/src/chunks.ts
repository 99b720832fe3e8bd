// Rows put together into chunks: what is committed at once. Where one ends depends on the file alone.

import type { FilePrefix } from './file-bytes.ts';
import { ImportsError } from './imports-error.ts';
import type { Row } from './rows.ts';

export interface Chunk {
  readonly rows: readonly Row[];
  /** What of the file had been read when the chunk was full. */
  readonly prefix: FilePrefix;
}

export interface ChunkLimits {
  /** Default 1,000: beyond, only transactions become longer. */
  readonly rows: number;
  /** The size of rows in the file, together. Keeps chunks of large rows small. */
  readonly bytes: number;
}

export const CHUNK_LIMITS: ChunkLimits = { rows: 1_000, bytes: 2_097_152 };

/** A file that is broken: the rows before the fault come first, then its error. */
export async function* chunksOf(
  rows: AsyncIterable<Row>,
  prefix: () => FilePrefix,
  limits: ChunkLimits = CHUNK_LIMITS,
): AsyncGenerator<Chunk> {
  let chunk: Row[] = [];
  let bytes = 0;
  let fault: ImportsError | undefined;
  try {
    for await (const row of rows) {
      chunk.push(row);
      bytes += row.bytes;
      if (chunk.length < limits.rows && bytes < limits.bytes) continue;
      yield { rows: chunk, prefix: prefix() };
      chunk = [];
      bytes = 0;
    }
  } catch (error) {
    if (!(error instanceof ImportsError)) throw error;
    // The rows before it are as good as any.
    fault = error;
  }
  if (chunk.length > 0) yield { rows: chunk, prefix: prefix() };
  if (fault !== undefined) throw fault;
}
