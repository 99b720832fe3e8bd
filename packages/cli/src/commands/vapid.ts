// pulsebox vapid: makes the keys by which push services know who sends.

import type { Command } from 'commander';
import { generateVapidKeys } from '@pulsebox/push';
import { exitCodes } from '../exit-code.ts';
import type { ExitCode } from '../exit-code.ts';
import type { Run, Session } from '../session.ts';

const HELP = `
Keep the private key as you keep a password, and the pair for as long as you have
subscribers: a page that subscribed with another public key has to subscribe again. The
subject is an address where you read mail; services write there when something is wrong.

Examples:
  pulsebox vapid >> .env
  pulsebox vapid --json | jq -r .publicKey`;

export function declareVapid(program: Command, run: Run): void {
  program
    .command('vapid')
    .summary('make a pair of keys for push')
    .description('Makes a pair of VAPID keys and prints it as variables for push-worker. Stores nothing.')
    .addHelpText('after', HELP)
    .action(() => run(makeKeys));
}

function makeKeys({ terminal }: Session): Promise<ExitCode> {
  const keys = generateVapidKeys();
  terminal.result(keys, () =>
    [`VAPID_PUBLIC_KEY=${keys.publicKey}`, `VAPID_PRIVATE_KEY=${keys.privateKey}`].join('\n'),
  );
  terminal.remark('set VAPID_SUBJECT=mailto:you@your-domain with them; pages subscribe with the public key');
  return Promise.resolve(exitCodes.ok);
}
