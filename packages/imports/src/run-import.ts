// One run of an import: from where the last one committed to the end of the file, or to where it is stopped.

import type { FileHandle } from 'node:fs/promises';
import type { Logger } from '@pulsebox/loop';
import { boundedTransaction } from '@pulsebox/postgres';
import type { Queryable } from '@pulsebox/postgres';
import type { Pool } from 'pg';
import { chunksOf } from './chunks.ts';
import type { Chunk, ChunkLimits } from './chunks.ts';
import { commitChunk } from './commit-chunk.ts';
import { parseMapping } from './csv-rows.ts';
import { hashPrefix, readFileBytes } from './file-bytes.ts';
import type { ImportCounts } from './import-job.ts';
import { ImportsError } from './imports-error.ts';
import type { ImportsMetrics, RunOutcome } from './imports-metrics.ts';
import { rowOutcomes } from './imports-metrics.ts';
import { createPace } from './pace.ts';
import { readRows } from './rows.ts';
import { beat, beginRun, endRun, pauseRun, setFile } from './run-record.ts';
import type { Run, RunEnd, Wanted } from './run-record.ts';
import { openStored, removeStored } from './storage.ts';
import type { StoredFile } from './storage.ts';
import { forgetTrialItems } from './trial-items.ts';

export interface ImportWorld {
  readonly pool: Pool;
  /** Where files are. */
  readonly directory: string;
  readonly metrics?: ImportsMetrics | undefined;
  readonly chunk?: ChunkLimits | undefined;
}

export interface RunOptions extends ImportWorld {
  readonly jobId: string;
  /** A UUID: the job of pg-boss whose run this is. */
  readonly runner: string;
  /** Aborted: stop at once; what is not committed is left to another run. */
  readonly signal: AbortSignal;
  /** Aborted: stop after the present chunk, and hand over. */
  readonly stopping: AbortSignal;
  readonly progress: () => void;
  readonly log: Logger;
}

/** `nothing`: it has ended, is paused, or another worker runs it. */
export type ImportOutcome = Exclude<RunOutcome, 'error'> | 'nothing';

/** Runs in a row that ended without a chunk: whatever ends them, it is not passing. */
const MOST_ATTEMPTS = 10;
const BEAT_MS = 1_000;
const STATEMENT_MS = 10_000;
/** An attempt of a job has 24 hours. */
const LONGEST_RUN_MS = 20 * 3_600_000;

/** @throws what may pass: the database or the file system is away. The next run goes on. */
export async function runImport(options: RunOptions): Promise<ImportOutcome> {
  const { jobId, runner, log, metrics } = options;
  const run = await stored(options, async (db) => beginRun(db, jobId, runner));
  if (run === undefined) return 'nothing';
  metrics?.running.inc();
  try {
    const outcome = await toItsEnd(run, options);
    metrics?.runs.inc({ outcome });
    return outcome;
  } catch (error) {
    metrics?.runs.inc({ outcome: 'error' });
    log.warn(
      { import: jobId, run: run.number, attempt: run.attempts, err: error },
      'an import was interrupted',
    );
    throw error;
  } finally {
    metrics?.running.dec();
  }
}

async function toItsEnd(run: Run, options: RunOptions): Promise<ImportOutcome> {
  const { log, signal } = options;
  const progress = { counts: run.counts };
  try {
    if (run.wanted === 'cancel') return await end(run, { state: 'cancelled' }, progress.counts, options);
    if (run.attempts > MOST_ATTEMPTS) throw endedRepeatedly(run, undefined);
    return await importFile(run, progress, options);
  } catch (error) {
    if (error instanceof ImportsError && error.code === 'IMPORTS_FENCED') {
      log.warn({ import: run.jobId, run: run.number }, 'an import was taken up by another worker');
      return 'fenced';
    }
    const lasting =
      error instanceof ImportsError
        ? error
        : run.attempts >= MOST_ATTEMPTS && !signal.aborted
          ? endedRepeatedly(run, error)
          : undefined;
    if (lasting === undefined) throw error;
    log.warn({ import: run.jobId, run: run.number, err: lasting }, 'an import has failed');
    const reason = `${lasting.message} (${lasting.code}); ${lasting.hint}`;
    return await end(run, { state: 'failed', reason }, progress.counts, options);
  }
}

/** What the run has come to, also when it ends with an error. */
interface Progress {
  counts: ImportCounts;
}

async function importFile(run: Run, progress: Progress, options: RunOptions): Promise<ImportOutcome> {
  const file = await openStored(options.directory, run.filePath);
  const interruption = createInterruption(run, options);
  try {
    await assertSameFile(run, file, options);
    // One that is tried again begins anew, also where its worker died before it had forgotten all.
    if (run.counts.processed === 0) await forgetTrial(run, options);
    const finished = await importRows(run, file, progress, interruption, options);
    if (!finished) return await interrupted(run, progress.counts, interruption.wanted(), options);
    await assertUntouched(file);
    return await end(run, { state: 'completed' }, progress.counts, options);
  } finally {
    interruption.close();
    await file.handle.close();
  }
}

/** False: interrupted. Reads a chunk while the one before it is being committed. */
async function importRows(
  run: Run,
  file: StoredFile,
  progress: Progress,
  interruption: Interruption,
  options: RunOptions,
): Promise<boolean> {
  const bytes = readFileBytes(file.handle, {
    signal: interruption.signal,
    progress: options.progress,
  });
  const pace = createPace(file.bytes);
  let committing: Promise<void> | undefined;

  async function commit(chunk: Chunk): Promise<void> {
    const startedAtMs = performance.now();
    const rows = progress.counts.processed + chunk.rows.length;
    const committed = await commitChunk(chunk, {
      pool: options.pool,
      run,
      before: progress.counts,
      pace: pace({ atMs: startedAtMs, rows, bytes: chunk.prefix.bytesRead }),
      signal: options.signal,
      progress: options.progress,
    });
    progress.counts = sum(progress.counts, committed.added);
    interruption.heard(committed.wanted);
    options.progress();
    options.metrics?.chunkDuration.observe((performance.now() - startedAtMs) / 1_000);
    for (const outcome of rowOutcomes) options.metrics?.rows.inc({ outcome }, committed.added[outcome]);
  }

  try {
    const rows = readRows(bytes, {
      path: run.filePath,
      format: run.format,
      mapping: parseMapping(run.mapping),
      skip: run.counts.processed,
    });
    for await (const chunk of chunksOf(rows, bytes.prefix, options.chunk)) {
      await committing;
      interruption.signal.throwIfAborted();
      committing = commit(chunk);
      // It is awaited later; until then a rejection is nobody's.
      committing.catch(() => undefined);
    }
    await committing;
    return true;
  } catch (error) {
    // What is on its way is waited for: it counts, whatever has stopped the reading.
    await committing;
    options.signal.throwIfAborted();
    if (
      interruption.signal.aborted &&
      error === interruption.signal.reason &&
      !(error instanceof ImportsError)
    )
      return false;
    throw error;
  }
}

interface Interruption {
  /** Aborted by whatever stops the reading. */
  readonly signal: AbortSignal;
  /** The row was written just now, and says so. */
  heard(wanted: Wanted): void;
  wanted(): Wanted;
  close(): void;
}

/** Looks every second at what a person wants, and says that the run is alive, where no chunk has done so. */
function createInterruption(run: Run, options: RunOptions): Interruption {
  const { signal, stopping, log } = options;
  const reading = new AbortController();
  let wanted: Wanted = run.wanted;
  let heardAtMs = performance.now();
  let asking = false;
  const stop = (): void => reading.abort();
  const heard = (now: Wanted): void => {
    heardAtMs = performance.now();
    wanted = now;
    if (wanted !== null) stop();
  };
  const ask = async (): Promise<void> => {
    if (asking || performance.now() - heardAtMs < BEAT_MS) return;
    asking = true;
    try {
      heard(await stored({ ...options, progress: () => undefined }, async (db) => beat(db, run)));
    } catch (error) {
      if (error instanceof ImportsError) reading.abort(error);
      else log.warn({ import: run.jobId, err: error }, 'the heartbeat of an import failed');
    }
    asking = false;
  };
  const timer = setInterval(() => void ask(), BEAT_MS);
  const over = setTimeout(stop, LONGEST_RUN_MS);
  signal.addEventListener('abort', stop);
  stopping.addEventListener('abort', stop);
  if (signal.aborted || stopping.aborted || wanted !== null) stop();
  return {
    signal: reading.signal,
    heard,
    wanted: () => wanted,
    close(): void {
      clearInterval(timer);
      clearTimeout(over);
      signal.removeEventListener('abort', stop);
      stopping.removeEventListener('abort', stop);
    },
  };
}

async function interrupted(
  run: Run,
  counts: ImportCounts,
  wanted: Wanted,
  options: RunOptions,
): Promise<ImportOutcome> {
  if (wanted === 'cancel') return await end(run, { state: 'cancelled' }, counts, options);
  if (wanted === 'pause' && (await stored(options, async (db) => pauseRun(db, run)))) {
    options.log.info({ import: run.jobId, ...counts }, 'an import was paused');
    return 'paused';
  }
  return await end(run, { state: 'queued' }, counts, options);
}

async function end(run: Run, how: RunEnd, counts: ImportCounts, options: RunOptions): Promise<ImportOutcome> {
  await stored(options, async (db) => endRun(db, run, how, counts));
  options.log.info({ import: run.jobId, state: how.state, ...counts }, 'an import ended its run');
  if (how.state === 'queued') return 'handed_over';
  await forgetTrial(run, options).catch((error: unknown) => {
    options.log.warn(
      { import: run.jobId, err: error },
      'what a dry run remembered is removed with its import, later',
    );
  });
  if (how.state === 'completed' && run.deleteFile) {
    await removeStored(options.directory, run.filePath).catch((error: unknown) => {
      options.log.warn({ import: run.jobId, err: error }, 'the file of an import could not be removed');
    });
  }
  return how.state;
}

async function forgetTrial(run: Run, options: RunOptions): Promise<void> {
  if (run.dryRun) await forgetTrialItems(run.jobId, async (work) => stored(options, work));
}

/** @throws IMPORTS_FILE_CHANGED */
async function assertSameFile(run: Run, file: StoredFile, options: RunOptions): Promise<void> {
  if (run.file === undefined) {
    await stored(options, async (db) => setFile(db, run, file));
    return;
  }
  if (run.file.bytes !== file.bytes) throw changed(`it had ${run.file.bytes} bytes, and has ${file.bytes}`);
  if (run.file.modifiedAtMs !== file.modifiedAt.getTime())
    throw changed(`it was written again at ${file.modifiedAt.toISOString()}`);
  const { signal, progress } = options;
  if (run.prefix === undefined) return;
  const hash = await hashPrefix(file.handle, run.prefix.bytesRead, { signal, progress });
  if (!hash.equals(run.prefix.hash))
    throw changed(`its first ${run.prefix.bytesRead} bytes, which were read, are others now`);
}

/** @throws IMPORTS_FILE_CHANGED */
async function assertUntouched({ handle, bytes, modifiedAt }: StoredFile): Promise<void> {
  const now = await statOf(handle);
  if (now.size !== bytes || now.mtime.getTime() !== modifiedAt.getTime())
    throw changed('it was written while it was being read');
}

async function statOf(handle: FileHandle): Promise<{ readonly size: number; readonly mtime: Date }> {
  return await handle.stat();
}

function changed(how: string): ImportsError {
  return new ImportsError(
    'IMPORTS_FILE_CHANGED',
    `expected the file to stay as it was when the import began, but ${how}`,
    {
      hint: 'what was imported stays; retry the import, which reads the file from its beginning',
    },
  );
}

function endedRepeatedly(run: Run, cause: unknown): ImportsError {
  const why =
    cause instanceof Error ? `: ${cause.message.slice(0, 300)}` : '; its worker was ended each time';
  return new ImportsError(
    'IMPORTS_ENDED_REPEATEDLY',
    `${MOST_ATTEMPTS} runs in a row ended behind row ${run.counts.processed} without getting on${why}`,
    { hint: 'the logs of the workers say more; retry the import when the cause is mended', cause },
  );
}

/** A short transaction that has an end, whatever the database does. */
async function stored<T>(
  { pool, progress }: Pick<RunOptions, 'pool' | 'progress'>,
  work: (db: Queryable) => Promise<T>,
): Promise<T> {
  return await boundedTransaction(pool, { statementMs: STATEMENT_MS, onWaiting: progress }, work);
}

function sum(a: ImportCounts, b: ImportCounts): ImportCounts {
  return {
    processed: a.processed + b.processed,
    created: a.created + b.created,
    updated: a.updated + b.updated,
    unchanged: a.unchanged + b.unchanged,
    skipped: a.skipped + b.skipped,
    failed: a.failed + b.failed,
  };
}
