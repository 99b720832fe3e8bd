// The workers that `npm start` runs: where they are, and the port of each.

export interface WorkerApp {
  readonly name: string;
  readonly entry: string;
  readonly portVariable: string;
  readonly defaultPort: number;
}

export const suite: readonly WorkerApp[] = [
  {
    name: 'worker',
    entry: 'apps/worker/dist/index.js',
    portVariable: 'WORKER_HEALTH_PORT',
    defaultPort: 9090,
  },
];
