// One run: the site, the workers, the load, a sample now and then, and at the end what was found.

import { eventually } from '@pulsebox/test-support';
import type { Pool } from 'pg';
import { importsLoad } from './load/imports.ts';
import { itemsLoad } from './load/items.ts';
import { mailLoad } from './load/mails.ts';
import { pace } from './load/pace.ts';
import { pushLoad } from './load/pushes.ts';
import { caughtUp, whatIsLost } from './losses.ts';
import type { Plan } from './plan.ts';
import type { Fault, Sample } from './report.ts';
import type { Run, RunContext } from './run.ts';
import { sampleUntilOver } from './sampling.ts';
import { startSite } from './site.ts';
import { createWitnesses } from './witnesses.ts';
import { apps, linesOf, startWorker } from './worker-process.ts';
import type { WorkerProcess } from './worker-process.ts';

export interface SoakFindings {
  readonly samples: readonly Sample[];
  readonly faults: readonly Fault[];
  readonly done: Readonly<Record<string, number>>;
  readonly remarks: readonly string[];
}

/** A machine that is busy with other things starts three processes slowly, and empties queues slowly. */
const PATIENCE_MS = 180_000;

export async function soak(plan: Plan, context: RunContext): Promise<SoakFindings> {
  const witnesses = createWitnesses();
  const site = await startSite(plan, witnesses.arrivals);
  const workers: WorkerProcess[] = [];
  try {
    for (const app of apps) workers.push(await startWorker(app, site.environment));
    await untilReady(site.database.pool, workers);
    context.onProgress('the workers are ready, the mailbox is watched');
    return await underLoad({ plan, context, site, workers, witnesses });
  } catch (error) {
    // Said at once: putting everything away may take long, or fail as well.
    context.onProgress(`broken off: ${error instanceof Error ? error.stack : String(error)}`);
    throw error;
  } finally {
    for (const worker of workers) worker.kill();
    await Promise.all(workers.map(({ exited }) => exited));
    await site.close();
  }
}

async function untilReady(pool: Pool, workers: readonly WorkerProcess[]): Promise<void> {
  for (const worker of workers) {
    await Promise.race([
      eventually(async () => (await worker.health('/health/ready')) === 200, {
        withinMs: PATIENCE_MS,
        everyMs: 200,
        message: `${worker.app} did not get ready: ${worker.remarks.join('\n')}`,
      }),
      worker.exited.then((how) => {
        throw new Error(`${worker.app} ended while starting (${how}): ${worker.remarks.join('\n')}`);
      }),
    ]);
  }
  // From here on a mail is news.
  await eventually(
    async () => {
      const { rows } = await pool.query<{ well: boolean }>(
        'select watch_topic is not null and last_synced_at is not null as well from app.mail_connections',
      );
      return rows[0]?.well;
    },
    { withinMs: PATIENCE_MS, everyMs: 200, message: 'the mailbox was not watched and read' },
  );
}

async function underLoad(run: Run): Promise<SoakFindings> {
  const { plan, context, site, workers, witnesses } = run;
  const { pool } = site.database;
  const items = itemsLoad(pool, plan.items, witnesses.items);
  const imports = importsLoad(pool, site.storage, plan.importRows);
  const pushes = pushLoad(pool, plan.users, witnesses.pushes);
  const mails = mailLoad(
    site.mailbox,
    { shown: witnesses.mailsShown, indexed: witnesses.mailsIndexed },
    plan.mails,
  );
  const failedWrites: string[] = [];
  // Three processes that start at once have their own troubles on a busy machine; what counts is how they run.
  const linesBefore = linesOf(workers);
  for (const { remarks } of workers) remarks.length = 0;
  const onFault = (error: unknown): void => void failedWrites.push(String(error));
  await items.fill();
  await imports.request();
  await eventually(() => witnesses.items.underWay === 0, { withinMs: PATIENCE_MS });
  const paces = [
    pace(plan.itemsPerSecond, () => items.change(), onFault),
    pace(plan.pushesPerSecond, pushes, onFault),
    pace(1_000 / plan.mailEveryMs, mails, onFault),
    pace(1_000 / plan.importEveryMs, () => imports.request(), onFault),
  ];
  const sampled = await sampleUntilOver(run);
  await Promise.all(paces.map(async (one) => one.stop()));
  context.onProgress('the load has ended; waiting for what is under way');
  await caughtUp(run, items.live());
  const lost = await whatIsLost(run, items.live());
  const ends = await Promise.all(workers.map(async (worker) => worker.stop()));
  const { log } = witnesses;
  const linesAfter = linesOf(workers);
  const lines = (levels: readonly string[]): number =>
    levels.reduce((sum, level) => sum + (linesAfter[level] ?? 0) - (linesBefore[level] ?? 0), 0);
  return {
    samples: sampled.samples,
    remarks: [
      ...workers.flatMap(({ remarks }) => remarks),
      ...failedWrites.slice(0, 10),
      ...sampled.failures.slice(0, 10),
    ],
    faults: [
      ...lost,
      { what: 'events published twice', count: log.twofold },
      { what: 'events published out of order for their key', count: log.inverted },
      { what: 'pushes that came twice', count: witnesses.pushes.unasked + witnesses.mailsShown.unasked },
      { what: 'push requests that broke a rule', count: site.pushViolations.length },
      { what: 'answers of /health other than 200', count: sampled.unwell },
      { what: 'log lines of level error or fatal, or none', count: lines(['error', 'fatal', 'other']) },
      { what: 'log lines of level warn', count: lines(['warn']) },
      { what: 'writes that failed', count: failedWrites.length },
      { what: 'workers that did not end with code 0', count: ends.filter((end) => end !== 'code 0').length },
    ],
    done: {
      'events published': log.published,
      'changes left out, since too many were under way': paces.reduce((sum, one) => sum + one.leftOut, 0),
      imports: imports.requested,
      'log lines of level info': lines(['info']),
      samples: sampled.samples.length,
      'samples that could not be taken': sampled.failures.length,
    },
  };
}
