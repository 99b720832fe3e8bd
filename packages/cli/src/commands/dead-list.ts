// pulsebox dead list: which events could not be delivered, and why.

import type { Command } from 'commander';
import { listDead } from '@pulsebox/outbox';
import type { DeadSummary, ParkedState } from '@pulsebox/outbox';
import { withPool } from '../database.ts';
import { filterOf, stateFlag, withFilterFlags } from '../dead-filter-flags.ts';
import type { FilterFlags } from '../dead-filter-flags.ts';
import { exitCodes } from '../exit-code.ts';
import type { ExitCode } from '../exit-code.ts';
import { wholeNumber } from '../flag-values.ts';
import { count } from '../quantities.ts';
import { announceDatabase } from '../session.ts';
import type { Run, Session } from '../session.ts';
import { renderTable } from '../table.ts';
import type { Column } from '../table.ts';
import { printable } from '../terminal.ts';
import type { Terminal } from '../terminal.ts';

interface ListFlags extends FilterFlags {
  readonly state: ParkedState;
  readonly oldest?: true;
  readonly limit: number;
  readonly cursor?: string;
}

const HELP = `
WAITING is how many events of the same key wait behind one, in a group that keeps order.
REASON is the first line of the last error; pulsebox dead show has them all.

Examples:
  pulsebox dead list
  pulsebox dead list --group search --newer-than 1h
  pulsebox dead list --state parked             what is tried again by itself, and why
  pulsebox dead list --json --limit 1000 | jq -r '.events[] | [.id, .reason] | @tsv'`;

export function declareList(dead: Command, run: Run): void {
  withFilterFlags(
    dead
      .command('list')
      .summary('show which events could not be delivered, and why')
      .description('Lists dead letters, the one that failed last first.'),
  )
    .addOption(stateFlag('dead letters, or what is parked and tried again'))
    .option('--oldest', 'the oldest first')
    .option('--limit <n>', 'how many to show', wholeNumber(1, 1_000), 50)
    .option('--cursor <cursor>', 'go on where an earlier list ended')
    .addHelpText('after', HELP)
    .action((flags: ListFlags) => run((session) => list(session, flags)));
}

async function list(session: Session, flags: ListFlags): Promise<ExitCode> {
  const { state, limit, cursor } = flags;
  const options = {
    filter: filterOf(flags),
    state,
    limit,
    first: flags.oldest === true ? 'oldest' : 'newest',
    ...(cursor === undefined ? {} : { cursor }),
  } as const;
  const database = await announceDatabase(session);
  const page = await withPool(database, (pool) => listDead(pool, options));
  const { result, remark, json, style } = session.terminal;
  result(page, () =>
    page.events.length === 0 ? nothing(state) : renderTable(page.events, columns(state, style), style),
  );
  if (page.next !== null && !json) remark(`there are more; the same command with --cursor ${page.next}`);
  return exitCodes.ok;
}

function nothing(state: ParkedState): string {
  return state === 'dead' ? 'no dead letters' : 'nothing is parked';
}

const LONGEST_REASON = 100;

function columns(state: ParkedState, style: Terminal['style']): readonly Column<DeadSummary>[] {
  return [
    { title: 'ID', value: ({ id }) => id },
    { title: 'TOPIC', value: ({ topic }) => topic },
    { title: 'KEY', value: ({ key }) => (key === null ? '-' : printable(key)) },
    { title: 'ATTEMPTS', align: 'right', value: ({ attempts }) => count(attempts) },
    { title: 'FAILED', value: ({ failedAt }) => failedAt ?? '-' },
    ...(state === 'dead' ? [] : [{ title: 'NEXT', value: nextAttempt } as const]),
    {
      title: 'WAITING',
      align: 'right',
      value: ({ waiting }) => (waiting === 0 ? '0' : style('yellow', count(waiting))),
    },
    {
      title: 'REASON',
      value: ({ reason }) => shortened(printable(reason ?? 'waits behind another of its key')),
    },
  ];
}

function nextAttempt({ nextAttemptAt }: DeadSummary): string {
  return nextAttemptAt ?? '-';
}

function shortened(text: string): string {
  return text.length > LONGEST_REASON ? `${text.slice(0, LONGEST_REASON)}…` : text;
}
