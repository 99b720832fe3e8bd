// Commits a chunk: its items, their events, its faults and the count of all of them, or none of it.

import { setTimeout as delay } from 'node:timers/promises';
import { boundedTransaction } from '@pulsebox/postgres';
import type { Pool } from 'pg';
import type { Chunk } from './chunks.ts';
import type { ImportCounts } from './import-job.ts';
import type { Pace } from './pace.ts';
import { recordChunk } from './run-record.ts';
import type { Run, Wanted } from './run-record.ts';
import { isRefusal, writeItems } from './write-items.ts';
import type { ItemToWrite, Written } from './write-items.ts';

export interface CommitOptions {
  readonly pool: Pool;
  readonly run: Run;
  readonly before: ImportCounts;
  readonly pace: Pace;
  readonly signal: AbortSignal;
  /** Called while an answer is waited for. */
  readonly progress: () => void;
}

export interface Committed {
  readonly added: ImportCounts;
  readonly wanted: Wanted;
}

/** So many faults of an import are kept; all are counted. */
const FAULTS_KEPT = 100;
/** The longest one statement may take, waits for locks of others included. */
const STATEMENT_MS = 30_000;
const MOST_CONFLICTS = 8;

/** @throws IMPORTS_FENCED, and what the database says: then nothing of the chunk is there, or a new run finds it counted */
export async function commitChunk(chunk: Chunk, options: CommitOptions): Promise<Committed> {
  for (let conflicts = 0, careful = false; ; ) {
    try {
      return await commitOnce(chunk, careful, options);
    } catch (error) {
      if (!careful && isRefusal(error)) careful = true;
      else if (isConflict(error) && conflicts < MOST_CONFLICTS) {
        conflicts += 1;
        await delay(Math.random() * 50 * conflicts, undefined, { signal: options.signal });
      } else throw error;
    }
  }
}

async function commitOnce(chunk: Chunk, careful: boolean, options: CommitOptions): Promise<Committed> {
  const { pool, run, before, pace, signal, progress } = options;
  const { items, faults, leftOut } = sorted(chunk, run.includeCompleted);
  return await boundedTransaction(
    pool,
    { statementMs: STATEMENT_MS, signal, onWaiting: progress },
    async (db) => {
      const written: Written =
        items.length === 0
          ? { created: 0, updated: 0, unchanged: 0, skipped: 0, refused: [] }
          : await writeItems(db, items, { ...run, careful });
      const bad = [...faults, ...written.refused].toSorted((a, b) => a.number - b.number);
      const added = {
        processed: chunk.rows.length,
        created: written.created,
        updated: written.updated,
        unchanged: written.unchanged,
        skipped: written.skipped + leftOut,
        failed: bad.length,
      };
      const wanted = await recordChunk(db, run, {
        added,
        processedBefore: before.processed,
        faults: bad.slice(0, Math.max(0, FAULTS_KEPT - before.failed)),
        prefix: chunk.prefix,
        ...pace,
      });
      return { added, wanted };
    },
  );
}

interface Sorted {
  readonly items: readonly ItemToWrite[];
  readonly faults: readonly { readonly number: number; readonly line: number; readonly fault: string }[];
  /** Completed. */
  readonly leftOut: number;
}

function sorted({ rows }: Chunk, includeCompleted: boolean): Sorted {
  const items: ItemToWrite[] = [];
  const faults: Sorted['faults'][number][] = [];
  let leftOut = 0;
  for (const row of rows) {
    if (row.fault !== undefined) faults.push({ number: row.number, line: row.line, fault: row.fault });
    else if (row.item.completed && !includeCompleted) leftOut += 1;
    else items.push(row);
  }
  return { items, faults, leftOut };
}

/** Two transactions in each other's way; the server has rolled ours back. */
function isConflict(error: unknown): boolean {
  const code = (error as { readonly code?: unknown }).code;
  return code === '40P01' || code === '40001';
}
