// The workers that `npm start` runs: where they are, and the port of each.

import { fileURLToPath } from 'node:url';

export interface WorkerApp {
  readonly name: string;
  /** The file to run. Sources run sources, a build runs a build. */
  readonly entry: string;
  readonly portVariable: string;
  readonly defaultPort: number;
}

export const suite: readonly WorkerApp[] = [
  { name: 'worker', entry: entryOf('worker'), portVariable: 'WORKER_HEALTH_PORT', defaultPort: 9090 },
  {
    name: 'push-worker',
    entry: entryOf('push-worker'),
    portVariable: 'PUSH_WORKER_HEALTH_PORT',
    defaultPort: 9091,
  },
  {
    name: 'watch-worker',
    entry: entryOf('watch-worker'),
    portVariable: 'WATCH_WORKER_HEALTH_PORT',
    defaultPort: 9092,
  },
];

function entryOf(app: string): string {
  const file = import.meta.url.endsWith('.ts') ? 'src/index.ts' : 'dist/index.js';
  return fileURLToPath(new URL(`../../${app}/${file}`, import.meta.url));
}
