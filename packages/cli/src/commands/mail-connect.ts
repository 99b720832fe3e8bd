// pulsebox mail connect: adds a mailbox, or gives one a new grant.

import { text } from 'node:stream/consumers';
import type { Command } from 'commander';
import { connectMailbox } from '@pulsebox/gmail';
import type { Tokens } from '@pulsebox/gmail';
import { CliError } from '../cli-error.ts';
import { askConsent } from '../consent.ts';
import { withPool } from '../database.ts';
import { exitCodes } from '../exit-code.ts';
import type { ExitCode } from '../exit-code.ts';
import { setUpMail } from '../mail-setup.ts';
import { announceDatabase } from '../session.ts';
import type { Run, Session } from '../session.ts';
import { printable } from '../terminal.ts';
import { wholeNumber } from '../whole-number.ts';

interface ConnectFlags {
  readonly user: string;
  readonly org: string;
  readonly port: number;
  readonly notify: boolean;
  readonly refreshTokenStdin?: true;
}

const HELP = `
Shows an address to open in a browser, where the mailbox's user grants read access. The browser
comes back to this machine by itself; where it runs on another one, paste the address that it
ended on. Which mailbox it is, Google says: no address is typed. The tokens are stored encrypted
under ENCRYPTION_KEY, and worker reads the mailbox in full. Nothing in it is ever changed.

The OAuth client (GMAIL_CLIENT_ID, GMAIL_CLIENT_SECRET) is one of the type "Desktop app".

Examples:
  pulsebox mail connect --user ada --org acme
  pulsebox mail connect --user ada --org acme --no-notify
  pulsebox mail connect --user ada --org acme --refresh-token-stdin < token.txt`;

/** Nobody takes longer to click, and a forgotten terminal should not wait for ever. */
const PATIENCE_MS = 15 * 60_000;

export function declareConnect(mail: Command, run: Run): void {
  mail
    .command('connect')
    .summary('add a mailbox, or give one a new grant')
    .description('Connects a Gmail mailbox for a user, with a grant that the user gives in a browser.')
    .requiredOption('--user <user>', 'whose mailbox it is: who is told of new mail')
    .requiredOption('--org <organisation>', 'whose searches find its mail')
    .option('--port <port>', 'where the browser comes back to, on this machine', wholeNumber(0, 65_535), 0)
    .option('--no-notify', 'do not tell the user of new mail')
    .option('--refresh-token-stdin', 'take a refresh token of the same OAuth client from standard input')
    .addHelpText('after', HELP)
    .action((flags: ConnectFlags) => run((session) => connect(session, flags)));
}

async function connect(session: Session, flags: ConnectFlags): Promise<ExitCode> {
  const database = await announceDatabase(session);
  return await withPool(database, async (pool) => {
    const mail = setUpMail(session.env, pool);
    const signal = AbortSignal.any([session.interruption(), AbortSignal.timeout(PATIENCE_MS)]);
    const grant: Tokens | { readonly refreshToken: string } =
      flags.refreshTokenStdin === true
        ? { refreshToken: await readToken() }
        : await askConsent({
            oauth: mail.oauth,
            port: flags.port,
            signal,
            show: (page) =>
              session.terminal.remark(
                `open this address in a browser and grant access:\n\n${page.href}\n\nthen wait, or paste the address that the browser ended on`,
              ),
          });
    const connected = await connectMailbox(mail, {
      userId: flags.user,
      orgId: flags.org,
      notify: flags.notify,
      grant,
      signal,
    });
    session.terminal.result(
      { ...connected, user: flags.user, organisation: flags.org },
      () =>
        `${connected.known ? 'connected again' : 'connected'}: ${printable(connected.email)} for ${printable(flags.user)}\nworker reads it now; watch it with: pulsebox mail status`,
    );
    return exitCodes.ok;
  });
}

/** From standard input, so that it stands in no list of processes and no history of a shell. */
async function readToken(): Promise<string> {
  const token = (await text(process.stdin)).trim();
  if (/^[\x21-\x7e]{10,2000}$/.test(token)) return token;
  throw new CliError(
    'CLI_USAGE_INVALID',
    'expected one refresh token on standard input, got something else',
    {
      hint: 'pulsebox mail connect … --refresh-token-stdin < token.txt',
    },
  );
}
