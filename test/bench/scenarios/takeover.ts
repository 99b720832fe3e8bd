// How long a group stands still when the worker that reads it is killed.

import { setTimeout as sleep } from 'node:timers/promises';
import { createPool } from '@pulsebox/postgres';
import { installLog } from '../contestants/event-log.ts';
import { startJob } from '../harness/child.ts';
import { range, ratio, seconds } from '../harness/figures.ts';
import type { Scenario, ScenarioContext, ScenarioReport } from '../harness/scenario.ts';
import { median } from '../harness/statistics.ts';
import type { ConsumeUntilStoppedInput, ConsumeUntilStoppedOutput } from '../jobs/consume-until-stopped.ts';

const GROUP = 'takeover';
const LEASES_S = [2, 15] as const;
const KILLS = 3;
const EMIT_EVERY_MS = 20;

/** After the lease has run out the one who takes over has this long: it waits for nothing but the database. */
const WITHIN_LEASES = 1.1;

/** No index. */
const EMIT = `select outbox.emit('bench.event', '{}')`;

interface Measured {
  readonly leaseSeconds: number;
  /** From the kill to the next event that reached a handler. */
  readonly gapSeconds: number;
}

export const takeover: Scenario = {
  name: 'takeover',
  summary: 'how long a group stands still when its worker is killed, in leases',
  async run(context): Promise<ScenarioReport> {
    const measured: Measured[] = [];
    // With --quick the short lease alone: the long one takes its time whatever the sizes are.
    for (const leaseSeconds of context.scale < 1 ? LEASES_S.slice(0, 1) : LEASES_S) {
      for (let kill = 1; kill <= Math.max(1, Math.round(KILLS * context.repeat * context.scale)); kill += 1)
        measured.push(await measure(context, leaseSeconds, kill));
    }
    return report(measured);
  },
};

async function measure(
  { server, progress }: ScenarioContext,
  leaseSeconds: number,
  kill: number,
): Promise<Measured> {
  const url = await server.freshDatabase('bench_takeover');
  await installLog(url);
  const input: ConsumeUntilStoppedInput = {
    url,
    group: GROUP,
    batchSize: 500,
    sinkMs: 0,
    variables: { OUTBOX_LEASE_SECONDS: String(leaseSeconds) },
  };
  const pool = createPool({ connection: { connectionString: url }, max: 2, onIdleError: console.error });
  const emitting = setInterval(() => void pool.query(EMIT).catch(() => undefined), EMIT_EVERY_MS);
  try {
    const victim = startJob<ConsumeUntilStoppedOutput>('consume-until-stopped', input);
    await victim.ready;
    const heir = startJob<ConsumeUntilStoppedOutput>('consume-until-stopped', input);
    await heir.ready;
    // Killed at another moment between two renewals each time.
    await sleep(1_000 + ((kill * 0.37) % 1) * (leaseSeconds / 3) * 1_000);
    const killedAtMs = performance.timeOrigin + performance.now();
    await victim.kill();
    await sleep(leaseSeconds * 1_500 + 2_000);
    const { output } = await heir.stop();
    const firstAtMs = output.handled[0]?.[0];
    if (firstAtMs === undefined) throw new Error('nobody took over within one and a half leases');
    if (firstAtMs < killedAtMs) throw new Error('the wrong worker was killed');
    const gapSeconds = (firstAtMs - killedAtMs) / 1_000;
    progress(`lease of ${leaseSeconds} s: ${seconds(gapSeconds)}`);
    return { leaseSeconds, gapSeconds };
  } finally {
    clearInterval(emitting);
    await pool.end();
  }
}

function report(measured: readonly Measured[]): ScenarioReport {
  const leases = [...new Set(measured.map(({ leaseSeconds }) => leaseSeconds))];
  const gaps = (lease: number): number[] =>
    measured.filter(({ leaseSeconds }) => leaseSeconds === lease).map(({ gapSeconds }) => gapSeconds);
  const inLeases = measured.map(({ gapSeconds, leaseSeconds }) => gapSeconds / leaseSeconds);
  const longest = Math.max(...inLeases);
  return {
    title: 'Take-over: the worker that reads is killed with SIGKILL, another stands by',
    goals: [
      {
        text: `takeover: within the lease (at most ${WITHIN_LEASES} × it, every time)`,
        measured: ratio(longest),
        met: longest <= WITHIN_LEASES,
      },
    ],
    tables: [
      {
        head: ['lease', 'median, in leases', 'least - most', 'median', 'kills'],
        rows: leases.map((lease) => [
          `${lease} s`,
          ratio(median(gaps(lease)) / lease),
          range(
            gaps(lease).map((gap) => gap / lease),
            ratio,
          ),
          seconds(median(gaps(lease))),
          String(gaps(lease).length),
        ]),
      },
    ],
    notes: [
      `From the kill to the next event that reaches a handler, while one is emitted every ${EMIT_EVERY_MS} ms. A lease is renewed every third of it, so between two thirds and all of it are left when its holder dies. A worker that is stopped instead hands over at once.`,
    ],
    data: measured,
  };
}
