// pulsebox runtimes reap: one round of the reconciler, or what it would do.

import type { Command } from 'commander';
import { createLogger } from '@pulsebox/loop';
import { planRound, reap } from '@pulsebox/runtimes';
import type { PlannedStep } from '@pulsebox/runtimes';
import { withPool } from '../database.ts';
import { exitCodes } from '../exit-code.ts';
import type { ExitCode } from '../exit-code.ts';
import { operator } from '../operator.ts';
import { plural } from '../quantities.ts';
import { setUpRuntimes, withCluster } from '../runtimes-setup.ts';
import { announceDatabase } from '../session.ts';
import type { Run, Session } from '../session.ts';
import { renderTable } from '../table.ts';
import { printable } from '../terminal.ts';

const HELP = `
A worker with OPENCLAW_RUNTIME=k8s does this by itself, once a minute at least. While one does, reap
without --dry-run ends with exit code 1. OPENCLAW_* is to be set as the worker has it.

Examples:
  pulsebox runtimes reap --dry-run
  pulsebox runtimes reap --dry-run --json | jq '.[] | select(.act == "delete-orphan")'
  pulsebox runtimes reap`;

export function declareReap(runtimes: Command, run: Run): void {
  runtimes
    .command('reap')
    .summary('do now, or show, what a worker does once a minute')
    .description(
      'Compares the cluster with the database once: stops what is idle, deletes orphans, mends stale states.',
    )
    .option('--dry-run', 'only show what would be done, and what waits for what')
    .addHelpText('after', HELP)
    .action((flags: { readonly dryRun?: true }) =>
      run((session) => (flags.dryRun === true ? plan(session) : reapNow(session))),
    );
}

async function plan(session: Session): Promise<ExitCode> {
  const settings = setUpRuntimes(session.env);
  const database = await announceDatabase(session);
  const signal = session.interruption();
  const steps = await withPool(database, (pool) =>
    withCluster(settings, (cluster) => planRound({ db: pool, cluster, rules: settings.rules, signal })),
  );
  const { result, style } = session.terminal;
  result(steps, () =>
    steps.length === 0
      ? 'nothing is running, and nothing is left over'
      : renderTable(
          steps,
          [
            { title: 'POD', value: ({ name }) => printable(name) },
            { title: 'USER', value: ({ user }) => (user === null ? '-' : printable(user)) },
            { title: 'ACT', value: (step) => actOf(step) },
            { title: 'REASON', value: ({ reason }) => printable(reason) },
          ],
          style,
        ),
  );
  return exitCodes.ok;
}

async function reapNow(session: Session): Promise<ExitCode> {
  const settings = setUpRuntimes(session.env);
  const database = await announceDatabase(session);
  const { terminal } = session;
  const log = createLogger({
    worker: 'pulsebox',
    // Decisions are remarks: standard output is for the result.
    destination: {
      write(line: string): void {
        const { runtime, name, decision, reason } = JSON.parse(line) as Readonly<
          Record<string, string | undefined>
        >;
        if (decision === undefined) return;
        terminal.remark(
          printable(`${runtime ?? name ?? ''} ${decision}${reason === undefined ? '' : `: ${reason}`}`),
        );
      },
    },
  });
  const { acted } = await withPool(database, (pool) =>
    withCluster(settings, (cluster) =>
      reap({
        ...settings,
        pool,
        cluster,
        log,
        holder: operator(),
        signal: session.interruption(),
        progress: () => undefined,
        metrics: undefined,
      }),
    ),
  );
  terminal.result({ acted }, () =>
    acted === 0 ? 'all is as it should be' : `something was done about ${plural(acted, 'runtime')}`,
  );
  return exitCodes.ok;
}

function actOf({ act, kind }: PlannedStep): string {
  return kind === null ? act : `${act} ${kind}`;
}
