// Asks the workers' sidecars how they are.

import type { Database } from './database.ts';
import type { RunningWorker } from './run-file.ts';

export interface WorkerHealth {
  readonly name: string;
  readonly healthUrl: string;
  /** `off`: nobody answers. Otherwise the sidecar's own word: `ok`, `stuck`. */
  readonly status: string;
  readonly uptimeSeconds: number | null;
  readonly secondsSinceLastPoll: number | null;
  /** What is not well, by loop; empty when all is. */
  readonly problems: readonly string[];
}

const TIMEOUT_MS = 1_000;

/** Where workers answer: as `npm start` says, else where WORKER_HEALTH_PORT points. Empty: nobody said. */
export function knownWorkers(
  database: Pick<Database, 'run'> | undefined,
  env: Readonly<Record<string, string | undefined>>,
): readonly RunningWorker[] {
  if (database?.run !== undefined) return database.run.workers;
  const port = env['WORKER_HEALTH_PORT']?.trim() ?? '';
  return /^\d+$/.test(port) ? [{ name: 'worker', healthUrl: `http://127.0.0.1:${port}/health` }] : [];
}

/** One answer for each worker, in the same order. Never rejects: no answer is an answer. */
export async function askWorkers(workers: readonly RunningWorker[]): Promise<WorkerHealth[]> {
  return await Promise.all(workers.map(ask));
}

async function ask({ name, healthUrl }: RunningWorker): Promise<WorkerHealth> {
  const asked = { name, healthUrl, uptimeSeconds: null, secondsSinceLastPoll: null, problems: [] };
  try {
    const response = await fetch(healthUrl, { signal: AbortSignal.timeout(TIMEOUT_MS), redirect: 'error' });
    const body = (await response.json()) as Record<string, unknown>;
    return {
      name: typeof body['worker'] === 'string' ? body['worker'] : name,
      healthUrl,
      status: typeof body['status'] === 'string' ? body['status'] : `HTTP ${response.status}`,
      uptimeSeconds: numberOrNull(body['uptime_seconds']),
      secondsSinceLastPoll: numberOrNull(body['seconds_since_last_poll']),
      problems: problemsIn(body['checks']),
    };
  } catch (error) {
    // A port that somebody else holds answers, but not with JSON.
    return error instanceof SyntaxError
      ? { ...asked, status: 'unknown', problems: ['the answer is not from a worker'] }
      : { ...asked, status: 'off' };
  }
}

function problemsIn(checks: unknown): string[] {
  if (typeof checks !== 'object' || checks === null) return [];
  return Object.entries(checks).flatMap(([loop, check]: [string, unknown]) => {
    const status =
      typeof check === 'object' && check !== null && 'status' in check ? check.status : undefined;
    return typeof status !== 'string' || status === 'ok' ? [] : [`${loop} is ${status}`];
  });
}

function numberOrNull(value: unknown): number | null {
  return typeof value === 'number' ? value : null;
}
