// The loops of imports: the group that takes requests, the queue that runs them, and what they need by the clock.

import { createImports } from '@pulsebox/imports';
import { openJobs } from '@pulsebox/jobs';
import type { Logger, Loop, Registry } from '@pulsebox/loop';
import type { ImportConfig, OpenedLog, OutboxConfig } from '@pulsebox/worker-base';

export interface ImportLoopsOptions {
  readonly config: ImportConfig & OutboxConfig;
  readonly outbox: OpenedLog;
  readonly log: Logger;
  readonly registry: Registry;
}

export interface ImportLoops {
  readonly loops: readonly Loop[];
  /** Before the log is closed. */
  close(): Promise<void>;
}

const SECONDS_OF_A_DAY = 86_400;

/** Undefined: imports are off. */
export function importLoops({ config, outbox, log, registry }: ImportLoopsOptions): ImportLoops | undefined {
  const { FILE_STORAGE_PATH: directory } = config;
  if (directory === undefined) return undefined;
  const { pool } = outbox;
  const jobs = openJobs({ pool, log });
  const imports = createImports({
    pool,
    jobs,
    directory,
    registry,
    concurrency: config.IMPORT_CONCURRENCY,
    chunkRows: config.IMPORT_CHUNK_ROWS,
    pollMs: Math.max(1, Math.round(config.OUTBOX_WORKER_POLL_SECONDS * 1_000)),
    keepSeconds: config.IMPORT_KEEP_DAYS * SECONDS_OF_A_DAY,
  });
  return {
    loops: [
      // Each event asks for a look at a row.
      outbox.consume({ group: 'imports', handler: imports.handler, order: 'none' }),
      ...imports.loops.map((loop) => outbox.whenMigrated(loop)),
    ],
    close: () => jobs.stop(),
  };
}
