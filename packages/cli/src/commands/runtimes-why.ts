// pulsebox runtimes why: how a user's runtime came to be as it is, and what will be done about it.

import type { Command } from 'commander';
import { planRound, showRuntime } from '@pulsebox/runtimes';
import type { PlannedStep, RuntimeDetails } from '@pulsebox/runtimes';
import { withPool } from '../database.ts';
import { exitCodes } from '../exit-code.ts';
import type { ExitCode } from '../exit-code.ts';
import { faultOf } from '../fault.ts';
import { duration } from '../quantities.ts';
import { runtimesHere, withCluster } from '../runtimes-setup.ts';
import { announceDatabase } from '../session.ts';
import type { Run, Session } from '../session.ts';
import { renderTable } from '../table.ts';
import { printable } from '../terminal.ts';
import type { Terminal } from '../terminal.ts';
import { coloured } from './runtimes-list.ts';

const HELP = `
Where OPENCLAW_* is set as the worker has it, the cluster is asked as well: NEXT says what the
next round will do.

Examples:
  pulsebox runtimes why ada
  pulsebox runtimes why ada --json | jq .history`;

interface Explanation extends RuntimeDetails {
  /** Null: the cluster was not asked, or could not be. */
  readonly next: readonly PlannedStep[] | null;
  /** Why it could not be. */
  readonly fault: string | null;
}

export function declareWhy(runtimes: Command, run: Run): void {
  runtimes
    .command('why')
    .summary("explain the state of a user's runtime")
    .description("Says how a user's runtime came to be in its state, and what will be done about it.")
    .argument('<user>', 'whose')
    .addHelpText('after', HELP)
    .action((user: string) => run((session) => explain(session, user)));
}

async function explain(session: Session, user: string): Promise<ExitCode> {
  const database = await announceDatabase(session);
  const settings = runtimesHere(session.env);
  const explanation = await withPool(database, async (pool): Promise<Explanation> => {
    const details = await showRuntime(pool, user);
    if (settings === undefined) return { ...details, next: null, fault: null };
    try {
      const plan = await withCluster(settings, (cluster) =>
        planRound({ db: pool, cluster, rules: settings.rules, signal: new AbortController().signal }),
      );
      return { ...details, next: plan.filter(({ name }) => name === details.name), fault: null };
    } catch (error) {
      // What the database knows is worth telling all the same.
      const { code, message } = faultOf(error);
      if (!code.startsWith('RUNTIMES_')) throw error;
      return { ...details, next: null, fault: message };
    }
  });
  session.terminal.result(explanation, () => render(explanation, session.terminal));
  return exitCodes.ok;
}

function render(runtime: Explanation, { style }: Terminal): string {
  const ago = duration(Math.max(0, Date.now() - runtime.stateSince.getTime()) / 1_000);
  const { organisationPlaced: placed, organisationWaiting: waiting } = runtime;
  return [
    `${printable(runtime.user)} is ${coloured(runtime.state, style)} since ${ago}: ${printable(runtime.reason)}`,
    `  Pod and Service ${runtime.name}${runtime.url === null ? '' : `, ${runtime.url}`}`,
    `  ${runtime.placed ? 'has a place' : 'has no place'}; ${printable(runtime.organisation)} has ${placed} taken, ${waiting} waiting`,
    ...(runtime.startAgain ? ['  is to start again when it is gone'] : []),
    ...next(runtime, style),
    '',
    renderTable(
      runtime.history,
      [
        { title: 'AT', value: ({ at }) => new Date(at).toISOString() },
        { title: 'STATE', value: ({ state }) => coloured(state, style) },
        { title: 'REASON', value: ({ reason }) => printable(reason) },
      ],
      style,
    ),
  ].join('\n');
}

function next({ next: steps, fault }: Explanation, style: Terminal['style']): readonly string[] {
  if (fault !== null) return [`  ${style('red', `the cluster could not be asked: ${printable(fault)}`)}`];
  if (steps === null) return [];
  if (steps.length === 0) return ['  NEXT nothing: there is nothing of it in the cluster'];
  return steps.map(
    ({ act, kind, reason }) =>
      `  NEXT ${[act, kind].filter((part) => part !== null).join(' ')}: ${printable(reason)}`,
  );
}
