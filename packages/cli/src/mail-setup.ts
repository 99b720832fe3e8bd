// Access to mailboxes as the environment configures it.

import { createTokenVault, parseKeyring } from '@pulsebox/gmail';
import type { Mail, TokenVault } from '@pulsebox/gmail';
import { parseEnvironment } from '@pulsebox/loop';
import { checkMail, mailVariables, openMail } from '@pulsebox/worker-base';
import type { Pool } from 'pg';
import { CliError } from './cli-error.ts';

type Env = Readonly<Record<string, string | undefined>>;

/** @throws LOOP_ENV_INVALID, CLI_MAIL_OFF */
export function setUpMail(env: Env, pool: Pool): Mail {
  const config = parseEnvironment(mailVariables, env, { check: checkMail });
  const mail = openMail(config, { pool });
  if (mail !== undefined) return mail;
  throw new CliError(
    'CLI_MAIL_OFF',
    'expected GMAIL_CLIENT_ID, GMAIL_CLIENT_SECRET and ENCRYPTION_KEY to be set, but mail is off',
    {
      hint: [
        "make an OAuth client of the type Desktop app in Google's console, and a key with `openssl rand -base64 32`;",
        'set all three as the workers have them',
      ].join('\n'),
    },
  );
}

/** For what needs keys and nothing of Google. @throws LOOP_ENV_INVALID, CLI_MAIL_OFF, GMAIL_KEYRING_INVALID */
export function openVault(env: Env): TokenVault {
  const { ENCRYPTION_KEY: keys } = parseEnvironment(mailVariables, env);
  if (keys !== undefined) return createTokenVault(parseKeyring(keys));
  throw new CliError('CLI_MAIL_OFF', 'expected ENCRYPTION_KEY to be set, but it is not', {
    hint: 'put the new key first, a comma, and the old one after it',
  });
}
