// pulsebox pubsub: messages from Pub/Sub that could not be understood.

import type { Command } from 'commander';
import { discardDeadLetters, listDeadLetters } from '@pulsebox/pubsub';
import type { PubSubDeadLetter } from '@pulsebox/pubsub';
import { CliError } from '../cli-error.ts';
import { confirmed } from '../confirmation.ts';
import { withPool } from '../database.ts';
import { exitCodes } from '../exit-code.ts';
import type { ExitCode } from '../exit-code.ts';
import { wholeNumber } from '../flag-values.ts';
import { plural } from '../quantities.ts';
import { announceDatabase } from '../session.ts';
import type { Run, Session } from '../session.ts';
import { renderTable } from '../table.ts';
import { printable } from '../terminal.ts';

const DEAD_HELP = `
They were acknowledged, so Pub/Sub does not send them again. With --json the data is in base64.

Examples:
  pulsebox pubsub dead
  pulsebox pubsub dead --json | jq -r '.[0].data' | base64 -d`;

const DISCARD_HELP = `
Examples:
  pulsebox pubsub discard 14783921
  pulsebox pubsub discard --all --yes`;

export function declarePubSub(program: Command, run: Run): void {
  const pubsub = program
    .command('pubsub')
    .summary('see messages from Pub/Sub that could not be understood')
    .description('Lists and discards messages from Pub/Sub that were no mail notification.');
  pubsub
    .command('dead')
    .summary('list them, with the reason')
    .description('Lists messages that were no mail notification, the newest first.')
    .option('--limit <n>', 'how many to show', wholeNumber(1, 1_000), 50)
    .addHelpText('after', DEAD_HELP)
    .action((flags: { readonly limit: number }) => run((session) => list(session, flags.limit)));
  pubsub
    .command('discard')
    .summary('remove them')
    .description('Removes messages for good: those named, or all.')
    .argument('[ids...]', "ids of messages, as Pub/Sub's own")
    .option('--all', 'all of them')
    .option('--yes', 'do not ask')
    .addHelpText('after', DISCARD_HELP)
    .action((ids: readonly string[], flags: DiscardFlags) => run((session) => discard(session, ids, flags)));
}

async function list(session: Session, limit: number): Promise<ExitCode> {
  const database = await announceDatabase(session);
  const letters = await withPool(database, (pool) => listDeadLetters(pool, limit));
  const { result, style } = session.terminal;
  result(
    letters.map((letter) => ({ ...letter, data: letter.data.toString('base64') })),
    () =>
      letters.length === 0
        ? 'no messages that could not be understood'
        : renderTable(
            letters,
            [
              { title: 'ID', value: ({ messageId }) => printable(messageId) },
              { title: 'SUBSCRIPTION', value: ({ subscription }) => printable(subscription) },
              { title: 'PUBLISHED', value: ({ publishedAt }) => publishedAt.toISOString() },
              { title: 'DATA', value: beginningOf },
              { title: 'REASON', value: ({ reason }) => printable(reason) },
            ],
            style,
          ),
  );
  return exitCodes.ok;
}

interface DiscardFlags {
  readonly all?: true;
  readonly yes?: true;
}

async function discard(session: Session, ids: readonly string[], flags: DiscardFlags): Promise<ExitCode> {
  if ((flags.all === true) === ids.length > 0) {
    throw new CliError('CLI_USAGE_INVALID', 'expected ids of messages, or --all, and not both', {
      hint: '`pulsebox pubsub dead` lists them with their ids',
    });
  }
  const { terminal } = session;
  const database = await announceDatabase(session);
  const what = 'all messages that could not be understood';
  if (
    flags.all === true &&
    flags.yes !== true &&
    !(await confirmed({ what: `discarding ${what}`, word: 'discard', withYes: `${what} would be gone` }))
  ) {
    terminal.remark('nothing was changed');
    return exitCodes.no;
  }
  const discarded = await withPool(database, (pool) =>
    discardDeadLetters(pool, flags.all === true ? 'all' : ids),
  );
  const missing = ids.filter((id) => !discarded.includes(id));
  terminal.result({ discarded: discarded.length, missing }, () =>
    [
      `discarded ${plural(discarded.length, 'message')}`,
      ...missing.map((id) => `there is no message ${printable(id)}`),
    ].join('\n'),
  );
  return missing.length === 0 ? exitCodes.ok : exitCodes.no;
}

const SHOWN_BYTES = 40;

/** Whatever it is, it is shown in one line, and does nothing to the terminal. */
function beginningOf({ data }: PubSubDeadLetter): string {
  const text = printable(data.subarray(0, SHOWN_BYTES).toString('utf8'));
  return data.length > SHOWN_BYTES ? `${text}…` : text;
}
