// What a run consists of.

import type { Plan } from './plan.ts';
import type { Sample } from './report.ts';
import type { Site } from './site.ts';
import type { Witnesses } from './witnesses.ts';
import type { WorkerProcess } from './worker-process.ts';

export interface RunContext {
  /** Ends the load before its time. */
  readonly signal: AbortSignal;
  onProgress(line: string): void;
  onSample(samples: readonly Sample[]): Promise<void>;
}

export interface Run {
  readonly plan: Plan;
  readonly context: RunContext;
  readonly site: Site;
  readonly workers: readonly WorkerProcess[];
  readonly witnesses: Witnesses;
}
