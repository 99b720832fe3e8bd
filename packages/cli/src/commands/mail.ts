// pulsebox mail: mailboxes, and the keys that their grants are encrypted under.

import type { Command } from 'commander';
import { declareConnect } from './mail-connect.ts';
import { declareRotateKeys } from './mail-rotate-keys.ts';
import { declareMailStatus } from './mail-status.ts';
import type { Run } from '../session.ts';

export function declareMail(program: Command, run: Run): void {
  const mail = program
    .command('mail')
    .summary('connect Gmail mailboxes, see how they are, replace keys')
    .description('Connects Gmail mailboxes, shows how each is, and re-encrypts their tokens.')
    .helpCommand(false);
  declareConnect(mail, run);
  declareMailStatus(mail, run);
  declareRotateKeys(mail, run);
}
