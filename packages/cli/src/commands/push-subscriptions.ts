// pulsebox push subscriptions: which browsers may be notified, and how they do.

import type { Command } from 'commander';
import { listSubscriptions } from '@pulsebox/push';
import type { SubscriptionSummary } from '@pulsebox/push';
import { withPool } from '../database.ts';
import { exitCodes } from '../exit-code.ts';
import type { ExitCode } from '../exit-code.ts';
import { count } from '../quantities.ts';
import { announceDatabase } from '../session.ts';
import type { Run, Session } from '../session.ts';
import { renderTable } from '../table.ts';
import type { Column } from '../table.ts';
import { printable } from '../terminal.ts';
import type { Terminal } from '../terminal.ts';
import { wholeNumber } from '../whole-number.ts';

interface SubscriptionFlags {
  readonly user?: string;
  readonly failing?: true;
  readonly after: number;
  readonly limit: number;
}

const HELP = `
FAILED counts attempts since the last success, which is exact to the hour. Endpoints and keys
are secrets of the users and not shown; a subscription that its service knows no longer is
removed by push-worker.

Examples:
  pulsebox push subscriptions --user anna
  pulsebox push subscriptions --failing
  pulsebox push subscriptions --json | jq 'group_by(.origin) | map({(.[0].origin): length}) | add'`;

export function declareSubscriptions(push: Command, run: Run): void {
  push
    .command('subscriptions')
    .summary('list the browsers that may be notified')
    .description('Lists push subscriptions in the order in which they were made.')
    .option('--user <id>', 'only those of this user')
    .option('--failing', 'only those that failed since their last success')
    .option('--after <id>', 'go on behind this one', wholeNumber(0, Number.MAX_SAFE_INTEGER), 0)
    .option('--limit <n>', 'how many to show', wholeNumber(1, 100_000), 100)
    .addHelpText('after', HELP)
    .action((flags: SubscriptionFlags) => run((session) => list(session, flags)));
}

async function list(session: Session, { user, failing, after, limit }: SubscriptionFlags): Promise<ExitCode> {
  const database = await announceDatabase(session);
  const found = await withPool(database, (pool) =>
    listSubscriptions(pool, { userId: user, failing: failing === true, after, limit }),
  );
  const { result, remark, style } = session.terminal;
  result(found, () => (found.length === 0 ? 'no subscriptions' : renderTable(found, columns(style), style)));
  const last = found.at(-1);
  if (found.length === limit && last !== undefined)
    remark(`there may be more: --after ${last.subscriptionId}`);
  return exitCodes.ok;
}

const LONGEST_AGENT = 40;

function columns(style: Terminal['style']): readonly Column<SubscriptionSummary>[] {
  return [
    { title: 'ID', align: 'right', value: ({ subscriptionId }) => String(subscriptionId) },
    { title: 'USER', value: ({ userId }) => printable(userId) },
    { title: 'SERVICE', value: ({ origin }) => printable(origin.replace('https://', '')) },
    { title: 'SINCE', value: ({ createdAt }) => day(createdAt) },
    {
      title: 'LAST SUCCESS',
      value: ({ lastSuccessAt }) => (lastSuccessAt === null ? '-' : minute(lastSuccessAt)),
    },
    {
      title: 'FAILED',
      align: 'right',
      value: ({ failureCount }) => (failureCount === 0 ? '0' : style('yellow', count(failureCount))),
    },
    { title: 'BROWSER', value: ({ userAgent }) => shortened(printable(userAgent ?? '-')) },
  ];
}

function day(iso: string): string {
  return new Date(iso).toISOString().slice(0, 10);
}

function minute(iso: string): string {
  return `${new Date(iso).toISOString().slice(0, 16).replace('T', ' ')}Z`;
}

function shortened(text: string): string {
  return text.length > LONGEST_AGENT ? `${text.slice(0, LONGEST_AGENT)}…` : text;
}
