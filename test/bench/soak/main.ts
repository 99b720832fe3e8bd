// npm run soak: see README.md beside this file.

import { readFile, writeFile } from 'node:fs/promises';
import { describeMachine, loadNow } from '../harness/machine.ts';
import { helpText, parseOptions } from './options.ts';
import type { SoakOptions } from './options.ts';
import { planFor } from './plan.ts';
import { judgeSamples, passes, renderReport } from './report.ts';
import type { Sample, SoakReport } from './report.ts';
import { soak } from './soak.ts';

/** The file is written this often while the run goes on. */
const WRITE_EVERY_SAMPLES = 12;
const SAY_EVERY_SAMPLES = 6;

process.exitCode = await main(process.argv.slice(2));

async function main(argv: readonly string[]): Promise<number> {
  let options: SoakOptions;
  try {
    options = parseOptions(argv);
  } catch (error) {
    process.stderr.write(`soak: ${error instanceof Error ? error.message : String(error)}\n`);
    return 2;
  }
  if (options.help) {
    process.stdout.write(helpText);
    return 0;
  }
  if (options.judgeFile !== undefined) return await judgeWritten(options.judgeFile);
  const interrupted = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    // The second one finds everything on its way out already; the exit itself ends what is left.
    process.on(signal, () => (interrupted.signal.aborted ? process.exit(130) : interrupted.abort()));
  }
  return await run(options, interrupted.signal);
}

async function run({ minutes, rate, jsonFile }: SoakOptions, signal: AbortSignal): Promise<number> {
  const plan = planFor({ minutes, rate });
  const machine = describeMachine();
  const startedAtMs = performance.now();
  const say = (line: string): void => {
    const elapsed = Math.round((performance.now() - startedAtMs) / 1_000);
    process.stderr.write(`${String(elapsed).padStart(6)} s  ${line}\n`);
  };
  const keep = async (content: object): Promise<void> => {
    if (jsonFile !== undefined) await writeFile(jsonFile, `${JSON.stringify(content)}\n`);
  };
  say(`${minutes} minutes, ${rate} changes of items a second, ${plan.partitionEvents} events a partition`);
  const { samples, faults, done, remarks } = await soak(plan, {
    signal,
    onProgress: say,
    async onSample(soFar): Promise<void> {
      if (soFar.length % SAY_EVERY_SAMPLES === 0) say(inOneLine(soFar));
      if (soFar.length % WRITE_EVERY_SAMPLES === 0) await keep({ minutes, rate, machine, samples: soFar });
    },
  });
  const measures = judgeSamples(samples, { minutes, warmUpMs: plan.warmUpMs });
  const report: SoakReport = {
    minutes,
    rate,
    machine: { ...machine, loadAfter: loadNow() },
    interrupted: signal.aborted,
    measures,
    faults,
    done,
    remarks,
    passed: !signal.aborted && passes(measures, faults),
  };
  await keep({ ...report, samples });
  process.stdout.write(`${renderReport(report)}\n`);
  return report.passed ? 0 : 1;
}

/** What a run has written: all of its report, or samples so far. */
type Written = Pick<SoakReport, 'minutes' | 'rate' | 'machine'> &
  Partial<SoakReport> & { readonly samples: readonly Sample[] };

/** By the limits of today. What must not have happened is known when the run is over. */
async function judgeWritten(file: string): Promise<number> {
  const written = JSON.parse(await readFile(file, 'utf8')) as Written;
  const { samples, faults = [], ...rest } = written;
  const measures = judgeSamples(samples, { minutes: written.minutes, warmUpMs: planFor(written).warmUpMs });
  const isOver = written.faults !== undefined && written.interrupted !== true;
  const isWell = passes(measures, faults);
  const done = { samples: samples.length };
  const report = { interrupted: !isOver, done, remarks: [], ...rest, measures, faults };
  process.stdout.write(`${renderReport({ ...report, passed: isOver && isWell })}\n`);
  return isWell ? 0 : 1;
}

/** For whoever watches. */
function inOneLine(samples: readonly Sample[]): string {
  const values = samples.at(-1)?.values ?? {};
  const shown = [
    'memory worker resident',
    'memory push-worker resident',
    'memory watch-worker resident',
    'disk in all',
    'partitions',
    'latency of an item to the index p50',
    'latency of an item to the index p99',
  ];
  return `${shown.map((name) => `${name} ${(values[name] ?? Number.NaN).toFixed(1)}`).join(', ')}, load ${loadNow()}`;
}
