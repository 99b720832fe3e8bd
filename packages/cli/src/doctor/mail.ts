// Connected mailboxes: whether the keys here open their grants, and which of them people have to look at.

import { GmailError, parseKeyring } from '@pulsebox/gmail';
import type { Keyring } from '@pulsebox/gmail';
import { plural } from '../quantities.ts';
import { printable } from '../terminal.ts';
import type { Check } from './check.ts';
import { fail, ok, skip, warn } from './finding.ts';
import type { Finding } from './finding.ts';

/** A row for each key that grants are encrypted under, and state of mailboxes. Reads the table. 0 rows: none is connected. */
const MAILBOXES = `
  select split_part(refresh_token, '.', 2) as "keyId", state, count(*)::int as mailboxes,
         count(last_error)::int as failing
  from app.mail_connections where state <> 'disconnected' group by 1, 2`;

interface Mailboxes {
  readonly keyId: string;
  readonly state: 'active' | 'revoked';
  readonly mailboxes: number;
  readonly failing: number;
}

export const mail: Check = {
  name: 'mail',
  needs: 'schema',
  async run({ pool, env }) {
    const { rows } = await pool.query<Mailboxes>(MAILBOXES);
    if (rows.length === 0) return ok('no mailbox is connected');
    const active = rows.filter(({ state }) => state === 'active');
    const findings = [...judgeKeys(active, env['ENCRYPTION_KEY']), ...judgeStates(rows)];
    return findings.length > 0 ? findings : ok(`${plural(total(active), 'mailbox', 'mailboxes')} read well`);
  },
};

function judgeKeys(active: readonly Mailboxes[], keys: string | undefined): Finding[] {
  if (keys === undefined || keys === '')
    return [skip('the keys of mailboxes were not looked at: set ENCRYPTION_KEY as the workers have it')];
  let keyring: Keyring;
  try {
    keyring = parseKeyring(keys);
  } catch (error) {
    if (error instanceof GmailError) return [fail(error.message, error.hint)];
    throw error;
  }
  return [...new Set(active.map(({ keyId }) => keyId))].flatMap((keyId) => {
    if (keyId === keyring.active.id) return [];
    const many = plural(total(active.filter((row) => row.keyId === keyId)), 'mailbox', 'mailboxes');
    if (!keyring.keys.has(keyId))
      return [
        fail(
          `the grants of ${many} are encrypted under the key ${printable(keyId)}, which is not in ENCRYPTION_KEY`,
          'put that key behind the present one, after a comma, and restart the workers; then pulsebox mail rotate-keys. What failed meanwhile: pulsebox dead replay --group mail',
        ),
      ];
    return [
      warn(
        `the grants of ${many} are still encrypted under the key ${keyId}, which is not the first of ENCRYPTION_KEY`,
        'pulsebox mail rotate-keys; then the old key can be taken out',
      ),
    ];
  });
}

function judgeStates(rows: readonly Mailboxes[]): Finding[] {
  const revoked = total(rows.filter(({ state }) => state === 'revoked'));
  const failing = rows.filter(({ state }) => state === 'active').reduce((sum, row) => sum + row.failing, 0);
  return [
    ...(revoked === 0
      ? []
      : [
          warn(
            `${plural(revoked, 'mailbox', 'mailboxes')} can be read no longer: Google does not take the grant`,
            'pulsebox mail status says which; their users connect them again: pulsebox mail connect',
          ),
        ]),
    ...(failing === 0
      ? []
      : [
          warn(
            `the last sync of ${plural(failing, 'mailbox', 'mailboxes')} failed; it is tried again`,
            'pulsebox mail status says why',
          ),
        ]),
  ];
}

function total(rows: readonly Mailboxes[]): number {
  return rows.reduce((sum, { mailboxes }) => sum + mailboxes, 0);
}
