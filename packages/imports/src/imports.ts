// Imports as a whole, for those who compose them: the handler of the log's group, and the loops beside it.

import { jobLoop } from '@pulsebox/jobs';
import type { Jobs } from '@pulsebox/jobs';
import type { Loop } from '@pulsebox/loop';
import type { Handler } from '@pulsebox/outbox';
import type { Pool } from 'pg';
import type { Registry } from 'prom-client';
import { CHUNK_LIMITS } from './chunks.ts';
import { importsHandler, importsQueue, runHandler } from './imports-handler.ts';
import { importsMetrics } from './imports-metrics.ts';
import { upkeepLoop } from './upkeep.ts';

export interface ImportsOptions {
  readonly pool: Pool;
  readonly jobs: Jobs;
  /** Where files are: one directory that all workers and whoever puts files there share. */
  readonly directory: string;
  /** Where metrics are registered. Without it there are none. */
  readonly registry?: Registry | undefined;
  /** How many imports run at once; each holds one connection of the pool, and three chunks of rows. Default 1. */
  readonly concurrency?: number | undefined;
  /** How many rows are committed at once. Default 1,000. */
  readonly chunkRows?: number | undefined;
  /** How long imports that have ended are kept, in seconds. Default 30 days. */
  readonly keepSeconds?: number | undefined;
  /** How long an idle loop rests between two looks for work, in milliseconds. Default 2,000. */
  readonly pollMs?: number | undefined;
}

export interface Imports {
  /** For the relay of the group `imports`, with `order: 'none'`. */
  readonly handler: Handler;
  /** `import-jobs`, which runs imports, and `imports-upkeep`. */
  readonly loops: readonly Loop[];
}

export function createImports(options: ImportsOptions): Imports {
  const { pool, jobs, directory, registry, concurrency = 1, chunkRows = CHUNK_LIMITS.rows, pollMs } = options;
  const world = {
    pool,
    directory,
    metrics: registry === undefined ? undefined : importsMetrics(registry),
    chunk: { ...CHUNK_LIMITS, rows: chunkRows },
  };
  return {
    handler: importsHandler(jobs),
    loops: [
      jobLoop({
        jobs,
        queue: importsQueue,
        name: 'import-jobs',
        handler: runHandler(world),
        concurrency,
        ...(pollMs === undefined ? {} : { pollMs }),
      }),
      upkeepLoop({ ...world, jobs, keepSeconds: options.keepSeconds ?? 30 * 86_400 }),
    ],
  };
}
