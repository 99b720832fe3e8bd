// A real Prometheus scrapes the three workers, with everything switched on, under the shipped configuration and rules. Skipped
// where Debian's package prometheus is missing.

import { spawn } from 'node:child_process';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { generateVapidKeys } from '@pulsebox/push';
import { createTestDatabase, eventually, freePort, runProgram } from '@pulsebox/test-support';
import { expect, inject, onTestFinished, test } from 'vitest';
import { isOnPath } from '../../scripts/image/tools.ts';
import { expressions } from '../../scripts/monitoring/dashboard.ts';
import { familyOf, metricNames } from '../../scripts/monitoring/metric-names.ts';
import { MONITORING, readRules } from '../../scripts/monitoring/rules.ts';

const PATIENCE_MS = 180_000;
const WORKERS = ['worker', 'push-worker', 'watch-worker'] as const;
const PORTS = {
  worker: 'WORKER_HEALTH_PORT',
  'push-worker': 'PUSH_WORKER_HEALTH_PORT',
  'watch-worker': 'WATCH_WORKER_HEALTH_PORT',
};

test.skipIf(!isOnPath('prometheus'))(
  'Prometheus scrapes the suite, loads the rules, and finds every metric of rules and dashboard',
  { timeout: 4 * PATIENCE_MS },
  async () => {
    const database = await createTestDatabase(inject('serverUrl'));
    onTestFinished(() => database.drop());
    const folder = mkdtempSync(join(tmpdir(), 'pulsebox-prometheus-'));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }));
    const env = everythingOn(folder, database.url);

    const targets: Record<string, string> = {};
    for (const worker of WORKERS) {
      const port = String(await freePort());
      targets[worker] = `127.0.0.1:${port}`;
      runProgram(`apps/${worker}/src/index.ts`, { args: ['--loop'], env: { ...env, [PORTS[worker]]: port } });
    }
    const prometheus = await startPrometheus(folder, targets);

    await eventually(async () => (await prometheus.query('up == 1')).length === WORKERS.length, {
      withinMs: PATIENCE_MS,
      everyMs: 500,
      message: 'not all workers were scraped',
    });
    // What one elected process sets comes a little later than the rest.
    await eventually(async () => (await prometheus.query('outbox_stats_timestamp_seconds')).length > 0, {
      withinMs: PATIENCE_MS,
      everyMs: 500,
      message: 'nobody has set the gauges of the log',
    });

    const exported = new Set<string>();
    for (const target of Object.values(targets)) {
      const text = await (await fetch(`http://${target}/metrics`)).text();
      for (const [, name = ''] of text.matchAll(/^# TYPE (\S+)/gm)) exported.add(name);
    }
    const rules = readRules().groups.flatMap((group) => group.rules);
    const recorded = rules.flatMap(({ record }) => record ?? []);
    const all = [...rules.map(({ expr }) => expr), ...expressions()];
    const missing = all
      .flatMap((expr) => metricNames(expr))
      .filter(
        (name) =>
          name !== 'up' && !recorded.includes(name) && !exported.has(name) && !exported.has(familyOf(name)),
      );
    expect([...new Set(missing)]).toEqual([]);
    for (const expr of expressions()) await prometheus.query(expr.replaceAll('$__rate_interval', '1m'));

    const { data } = await prometheus.get<{
      data: { groups: { rules: { name: string; health: string; lastError?: string }[] }[] };
    }>('/api/v1/rules');
    const loaded = data.groups.flatMap((group) => group.rules);
    expect(loaded).toHaveLength(rules.length);
    expect(loaded.filter(({ lastError }) => lastError !== undefined && lastError !== '')).toEqual([]);
    await eventually(
      async () =>
        (await prometheus.query('ALERTS{alertname="PulseboxWatchdog",alertstate="firing"}')).length === 1,
      {
        withinMs: PATIENCE_MS,
        everyMs: 500,
        message: 'the watchdog does not fire',
      },
    );
  },
);

/** Every capability configured, so that its metrics are there; none of the services behind them needs to answer. */
function everythingOn(folder: string, databaseUrl: string): Record<string, string> {
  const { publicKey, privateKey } = generateVapidKeys();
  const nowhere = '127.0.0.1:9';
  const kubeconfig = join(folder, 'kubeconfig');
  writeFileSync(
    kubeconfig,
    JSON.stringify({
      apiVersion: 'v1',
      kind: 'Config',
      'current-context': 'x',
      clusters: [{ name: 'x', cluster: { server: `https://${nowhere}` } }],
      users: [{ name: 'x', user: { token: 'x' } }],
      contexts: [{ name: 'x', context: { cluster: 'x', user: 'x', namespace: 'x' } }],
    }),
  );
  return {
    DATABASE_URL: databaseUrl,
    LOG_LEVEL: 'error',
    OTEL_EXPORTER_OTLP_ENDPOINT: `http://${nowhere}`,
    VAPID_PUBLIC_KEY: publicKey,
    VAPID_PRIVATE_KEY: privateKey,
    VAPID_SUBJECT: 'mailto:operations@example.org',
    GMAIL_CLIENT_ID: 'client',
    GMAIL_CLIENT_SECRET: 'secret',
    GMAIL_API_BASE: `http://${nowhere}`,
    ENCRYPTION_KEY: Buffer.alloc(32, 1).toString('base64'),
    GMAIL_PUBSUB_PROJECT_ID: 'project',
    GMAIL_PUBSUB_SUBSCRIPTION: 'mail-changes',
    GMAIL_PUBSUB_TOPIC: 'mail-changes',
    BRIDGE_PUBSUB_PROJECT_ID: 'project',
    BRIDGE_PUBSUB_TOPIC: 'events',
    PUBSUB_EMULATOR_HOST: nowhere,
    FILE_STORAGE_PATH: folder,
    OPENCLAW_RUNTIME: 'k8s',
    OPENCLAW_IMAGE: 'openclaw:1',
    OPENCLAW_K8S_KUBECONFIG: kubeconfig,
  };
}

interface Prometheus {
  get<T>(path: string): Promise<T>;
  /** The series of an instant query. @throws what Prometheus says of a faulty one */
  query(expr: string): Promise<readonly unknown[]>;
}

async function startPrometheus(
  folder: string,
  targets: Readonly<Record<string, string>>,
): Promise<Prometheus> {
  const config = Object.entries(targets).reduce(
    (text, [worker, target]) => text.replace(new RegExp(`"${worker}:\\d+"`), `"${target}"`),
    readFileSync(join(MONITORING, 'prometheus.yml'), 'utf8').replaceAll(': 15s', ': 1s'),
  );
  writeFileSync(join(folder, 'prometheus.yml'), config);
  copyFileSync(join(MONITORING, 'rules.yaml'), join(folder, 'rules.yaml'));
  const address = `127.0.0.1:${await freePort()}`;
  const child = spawn(
    'prometheus',
    [
      `--config.file=${join(folder, 'prometheus.yml')}`,
      `--storage.tsdb.path=${join(folder, 'data')}`,
      `--web.listen-address=${address}`,
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  let output = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (output += text));
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  onTestFinished(async () => {
    child.kill('SIGKILL');
    await exited;
  });
  await eventually(async () => (await fetch(`http://${address}/-/ready`)).ok, {
    withinMs: PATIENCE_MS,
    everyMs: 200,
    message: 'Prometheus did not start',
  }).catch((error: unknown) => {
    throw new Error(output.slice(-2_000), { cause: error });
  });
  const get = async <T>(path: string): Promise<T> =>
    (await (await fetch(`http://${address}${path}`)).json()) as T;
  return {
    get,
    async query(expr) {
      const answer = await get<{ status: string; error?: string; data?: { result: unknown[] } }>(
        `/api/v1/query?query=${encodeURIComponent(expr)}`,
      );
      if (answer.status !== 'success') throw new Error(`${expr}: ${answer.error}`);
      return answer.data?.result ?? [];
    },
  };
}
