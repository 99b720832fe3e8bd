// Everything in the image, started for real: the waiting init containers, the migration, the three workers with their
// probes, an event that they deliver, and their end.

import { setTimeout as pause } from 'node:timers/promises';
import { eventually, freePort, startTemporaryServer } from '@pulsebox/test-support';
import { Container } from './container.ts';
import type { ImageConfig } from './container.ts';

export interface SuiteOptions {
  readonly folder: string;
  readonly rootfs: string;
  readonly image: ImageConfig;
}

const WORKERS = [
  {
    name: 'worker',
    portVariable: 'WORKER_HEALTH_PORT',
    heap: '--max-old-space-size=128 --max-semi-space-size=2',
  },
  {
    name: 'push-worker',
    portVariable: 'PUSH_WORKER_HEALTH_PORT',
    heap: '--max-old-space-size=56 --max-semi-space-size=1',
  },
  {
    name: 'watch-worker',
    portVariable: 'WATCH_WORKER_HEALTH_PORT',
    heap: '--max-old-space-size=56 --max-semi-space-size=1',
  },
] as const;

const PULSEBOX = 'packages/cli/bin/pulsebox.js';
const PATIENCE_MS = 120_000;

/** Lines about what was seen. @throws what was not as it should be */
export async function checkWorkers(options: SuiteOptions): Promise<string[]> {
  const server = await startTemporaryServer({ fsync: 'off' });
  const started: Container[] = [];
  const make = (name: string, env: Readonly<Record<string, string>>, args?: readonly string[]): Container => {
    const container = new Container({
      ...options,
      name: `${name}-${process.pid}`,
      env,
      ...(args === undefined ? {} : { args }),
    });
    started.push(container);
    container.start();
    return container;
  };
  const once = async (name: string, args: readonly string[], wanted: number): Promise<Container> => {
    const container = make(name, { DATABASE_URL: server.url }, args);
    const code = await container.exited();
    if (code !== wanted)
      throw new Error(`${args.join(' ')} ended with code ${code} instead of ${wanted}:\n${container.output}`);
    return container;
  };
  try {
    await once('wait-for-postgres', ['wait-for.mjs', 'postgres', '60'], 0);
    await once('schema-missing', ['wait-for.mjs', 'schema', '3'], 1);
    await once('migrate', [PULSEBOX, 'migrate'], 0);
    await once('schema', ['wait-for.mjs', 'schema', '60'], 0);
    const lines = ['init containers wait, refuse a missing schema, and pass after the migration'];

    // Waits in the log for `worker`, which delivers it to search.
    await once('emit', [PULSEBOX, 'emit', 'note.saved', '{"note_id": 42}'], 0);
    for (const { name, portVariable, heap } of WORKERS) {
      const port = await freePort();
      const env = {
        DATABASE_URL: server.url,
        [portVariable]: String(port),
        NODE_OPTIONS: heap,
      };
      // The image's own CMD starts `worker`.
      const container =
        name === 'worker' ? make(name, env) : make(name, env, [`apps/${name}/dist`, '--loop']);
      lines.push(await checkWorker(container, port, options.image));
    }
    return lines;
  } finally {
    for (const container of started) await container.remove();
    await server.stop();
  }
}

async function checkWorker(container: Container, port: number, image: ImageConfig): Promise<string> {
  try {
    for (const check of ['startup', 'live', 'ready'])
      await eventually(async () => (await fetch(`http://127.0.0.1:${port}/health/${check}`)).status === 200, {
        withinMs: PATIENCE_MS,
      });
    if (container.name.startsWith('worker-')) await delivers(port);
    const [, ...healthcheck] = image.Healthcheck?.Test ?? [];
    const asked = await container.exec(...healthcheck);
    if (asked.code !== 0)
      throw new Error(`the HEALTHCHECK says ${asked.code}: ${asked.stdout}${asked.stderr}`);
    await mustFail(container, 'writing below /app', "require('fs').writeFileSync('/app/x', '')");
    await mustFail(container, 'a root user', 'process.exit(process.getuid() === 0 ? 0 : 1)');
    const capabilities = container.capabilities();
    if (!/^0+$/.test(capabilities ?? '')) throw new Error(`expected no capability, got ${capabilities}`);
    // What it needs when idle; under load the heap's cap bounds the rest.
    await pause(3_000);
    const peak = container.peakMemoryMib();
    const before = performance.now();
    container.signal('SIGTERM');
    const code = await container.exited();
    if (code !== 0) throw new Error(`expected exit code 0 after SIGTERM, got ${code}`);
    const seconds = ((performance.now() - before) / 1_000).toFixed(1);
    return `${container.name}: started, live, ready, HEALTHCHECK ok; peak ${peak} MiB; stopped by SIGTERM in ${seconds} s`;
  } catch (error) {
    throw new Error(`${container.name}: ${String(error)}\n${container.output.slice(-4_000)}`, {
      cause: error,
    });
  }
}

async function mustFail(container: Container, what: string, code: string): Promise<void> {
  const { code: exitCode } = await container.exec('node', '-e', code);
  if (exitCode === 0) throw new Error(`${what} is possible in the container`);
}

async function delivers(port: number): Promise<void> {
  const metric = /^worker_events_total\{worker="worker"\} [1-9]/m;
  await eventually(async () => metric.test(await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()), {
    withinMs: PATIENCE_MS,
    message: 'the event that was emitted was not delivered',
  });
}
