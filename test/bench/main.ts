// `npm run bench`: Pulsebox beside its peers. See README.md here, and docs/benchmarks.md for what the figures mean.

import { writeFile } from 'node:fs/promises';
import { serverSettings, startBenchServer } from './harness/bench-server.ts';
import { describeMachine, loadNow } from './harness/machine.ts';
import { helpText, parseOptions } from './harness/options.ts';
import type { BenchOptions } from './harness/options.ts';
import { startRedis } from './harness/redis.ts';
import { renderReport } from './harness/report.ts';
import type { MeasuredScenario, RunReport } from './harness/report.ts';
import { bloat } from './scenarios/bloat.ts';
import { drain } from './scenarios/drain.ts';
import { emit } from './scenarios/emit.ts';
import { failures } from './scenarios/failures.ts';
import { fleet } from './scenarios/fleet.ts';
import { imports } from './scenarios/imports.ts';
import { indexing } from './scenarios/indexing.ts';
import { lanes } from './scenarios/lanes.ts';
import { latency } from './scenarios/latency.ts';
import { mail } from './scenarios/mail.ts';
import { memory } from './scenarios/memory.ts';
import { pubsub } from './scenarios/pubsub.ts';
import { push } from './scenarios/push.ts';
import { retention } from './scenarios/retention.ts';
import { takeover } from './scenarios/takeover.ts';

const scenarios = [
  drain,
  latency,
  emit,
  bloat,
  memory,
  lanes,
  failures,
  fleet,
  takeover,
  retention,
  push,
  mail,
  pubsub,
  indexing,
  imports,
];

const QUICK_SCALE = 0.1;

/** `onScenario` gets the report so far after each scenario. */
async function bench(
  options: BenchOptions,
  onScenario: (report: RunReport) => Promise<void>,
): Promise<RunReport> {
  const machine = describeMachine();
  const server = await startBenchServer();
  const redis = await startRedis();
  const startedAtMs = performance.now();
  const reports: Record<string, MeasuredScenario> = {};
  let redisVersion: string | undefined;
  const reportSoFar = (): RunReport => ({
    machine: {
      ...machine,
      postgres: server.version,
      redis: redisVersion ?? (redis === undefined ? 'not found, BullMQ on Redis skipped' : 'found'),
    },
    quick: options.quick,
    repeat: options.repeat,
    settings: serverSettings,
    scenarios: reports,
  });
  try {
    for (const scenario of scenarios) {
      if (options.only.length > 0 && !options.only.includes(scenario.name)) continue;
      const report = await scenario.run({
        server,
        redisUrl: redis?.url,
        scale: options.quick ? QUICK_SCALE : 1,
        repeat: options.repeat,
        progress(line): void {
          const elapsed = Math.round((performance.now() - startedAtMs) / 1_000);
          process.stderr.write(`${String(elapsed).padStart(5)} s  ${scenario.name}: ${line}\n`);
        },
      });
      reports[scenario.name] = { ...report, loadAfter: loadNow() };
      await onScenario(reportSoFar());
    }
  } finally {
    redisVersion = await redis?.stop();
    await server.stop();
  }
  return reportSoFar();
}

let options: BenchOptions | undefined;
try {
  options = parseOptions(
    process.argv.slice(2),
    scenarios.map(({ name }) => name),
  );
} catch (error) {
  process.stderr.write(`bench: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 2;
}
if (options?.help === true) {
  process.stdout.write(helpText(scenarios));
} else if (options !== undefined) {
  const { jsonFile } = options;
  // After each scenario: a run that is ended early leaves what it has measured.
  const report = await bench(options, async (soFar) => {
    if (jsonFile !== undefined) await writeFile(jsonFile, `${JSON.stringify(soFar, undefined, 2)}\n`);
  });
  process.stdout.write(`${renderReport(report)}\n`);
  if (jsonFile !== undefined) await writeFile(jsonFile, `${JSON.stringify(report, undefined, 2)}\n`);
}
