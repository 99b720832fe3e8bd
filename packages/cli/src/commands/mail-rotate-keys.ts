// pulsebox mail rotate-keys: encrypts every token under the first key.

import type { Command } from 'commander';
import { rotateKeys } from '@pulsebox/gmail';
import { withPool } from '../database.ts';
import { exitCodes } from '../exit-code.ts';
import type { ExitCode } from '../exit-code.ts';
import { openVault } from '../mail-setup.ts';
import { plural } from '../quantities.ts';
import { announceDatabase } from '../session.ts';
import type { Run, Session } from '../session.ts';

const HELP = `
ENCRYPTION_KEY has the new key first, and the old ones after it, separated by commas. Workers go
on meanwhile, once they have been restarted with the same keys. Interrupted, it goes on where it
stopped when it is run again. When it says that nothing is left, take the old keys out.

The exit code is 1 when there are tokens that no key opens: add the key that they are encrypted
under (pulsebox mail status shows which), or connect those mailboxes again.

Example:
  ENCRYPTION_KEY="$NEW,$OLD" pulsebox mail rotate-keys`;

export function declareRotateKeys(mail: Command, run: Run): void {
  mail
    .command('rotate-keys')
    .summary('re-encrypt all tokens under the first key')
    .description('Encrypts the tokens of all mailboxes anew under the first key of ENCRYPTION_KEY.')
    .addHelpText('after', HELP)
    .action(() => run(rotate));
}

async function rotate(session: Session): Promise<ExitCode> {
  const vault = openVault(session.env);
  const database = await announceDatabase(session);
  const { terminal } = session;
  const report = await withPool(database, (pool) =>
    rotateKeys({
      pool,
      vault,
      signal: session.interruption(),
      onProgress: ({ rotated }) => {
        if (terminal.watched) terminal.redraw(`${plural(rotated, 'mailbox', 'mailboxes')} so far`);
      },
    }),
  );
  if (terminal.watched) terminal.redraw('');
  terminal.result({ key: vault.activeKeyId, ...report }, () =>
    [
      `${plural(report.rotated, 'mailbox', 'mailboxes')} re-encrypted under key ${vault.activeKeyId}`,
      ...report.unreadable.map(({ reason }) => reason),
      ...(report.unreadable.length === 0 ? ['nothing is left under another key'] : []),
    ].join('\n'),
  );
  return report.unreadable.length === 0 ? exitCodes.ok : exitCodes.no;
}
