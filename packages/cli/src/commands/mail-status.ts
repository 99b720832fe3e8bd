// pulsebox mail status: how each mailbox is.

import type { Command } from 'commander';
import { mailboxStatus } from '@pulsebox/gmail';
import type { MailboxStatus } from '@pulsebox/gmail';
import { withPool } from '../database.ts';
import { exitCodes } from '../exit-code.ts';
import type { ExitCode } from '../exit-code.ts';
import { count, duration } from '../quantities.ts';
import { announceDatabase } from '../session.ts';
import type { Run, Session } from '../session.ts';
import { renderTable } from '../table.ts';
import type { Column } from '../table.ts';
import { printable } from '../terminal.ts';
import type { Terminal } from '../terminal.ts';

const HELP = `
SYNCED is how long ago the mailbox was last read to its end, NOTIFIED how long ago Gmail last
told of a change, WATCH how long Gmail goes on telling. The exit code is 1 when a mailbox that is
active has a problem, or one was revoked.

Examples:
  pulsebox mail status
  pulsebox mail status --json | jq '.[] | select(.state != "active")'`;

export function declareMailStatus(mail: Command, run: Run): void {
  mail
    .command('status')
    .summary('show how each mailbox is')
    .description(
      'Shows each connected mailbox: its state, when it was synced, how long it is watched, problems.',
    )
    .addHelpText('after', HELP)
    .action(() => run(showStatus));
}

async function showStatus(session: Session): Promise<ExitCode> {
  const database = await announceDatabase(session);
  const mailboxes = await withPool(database, mailboxStatus);
  const { result, style } = session.terminal;
  result(mailboxes, () =>
    mailboxes.length === 0
      ? 'no mailboxes yet: pulsebox mail connect adds one'
      : renderTable(mailboxes, columns(style, Date.now()), style),
  );
  return mailboxes.some((mailbox) => problemOf(mailbox) !== null) ? exitCodes.no : exitCodes.ok;
}

function columns(style: Terminal['style'], now: number): readonly Column<MailboxStatus>[] {
  const ago = (date: Date | null): string =>
    date === null ? '-' : duration(Math.max(0, now - date.getTime()) / 1_000);
  return [
    { title: 'MAILBOX', value: ({ email }) => printable(email) },
    { title: 'USER', value: ({ user }) => printable(user) },
    { title: 'ORG', value: ({ organisation }) => printable(organisation) },
    { title: 'STATE', value: ({ state }) => style(state === 'active' ? 'green' : 'red', state) },
    { title: 'SYNCED', align: 'right', value: (mailbox) => progressOf(mailbox) ?? ago(mailbox.lastSyncedAt) },
    { title: 'NOTIFIED', align: 'right', value: ({ notifiedAt }) => ago(notifiedAt) },
    { title: 'WATCH', align: 'right', value: (mailbox) => watchOf(mailbox, now, style) },
    { title: 'KEY', value: ({ keyId }) => keyId },
    {
      title: 'PROBLEM',
      value: (mailbox) => {
        const problem = problemOf(mailbox);
        return problem === null ? '-' : style('red', printable(problem));
      },
    },
  ];
}

/** `3,100 of 99,000` while it is read in full. */
function progressOf({ fullSync }: MailboxStatus): string | undefined {
  if (fullSync === null) return undefined;
  return fullSync.total === null
    ? count(fullSync.counted)
    : `${count(fullSync.counted)} of ${count(fullSync.total)}`;
}

function watchOf({ watchExpiresAt }: MailboxStatus, now: number, style: Terminal['style']): string {
  if (watchExpiresAt === null) return style('yellow', 'none');
  const seconds = (watchExpiresAt.getTime() - now) / 1_000;
  return seconds <= 0 ? style('red', 'expired') : duration(seconds);
}

function problemOf({ reason, lastError, watchError, state }: MailboxStatus): string | null {
  if (state === 'disconnected') return null;
  return reason ?? lastError ?? watchError;
}
