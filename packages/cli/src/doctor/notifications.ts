// A real NOTIFY, there and back, on the connections that a worker would use.

import { randomBytes } from 'node:crypto';
import { parseEnvironment } from '@pulsebox/loop';
import { notifyChannel } from '@pulsebox/outbox';
import { listen } from '@pulsebox/postgres';
import { outboxVariables } from '@pulsebox/worker-base';
import { isSet } from '../database.ts';
import { duration } from '../quantities.ts';
import type { Check, Patient } from './check.ts';
import { fail, ok, warn } from './finding.ts';
import type { Finding } from './finding.ts';

const PATIENCE_MS = 2_000;

/** $1 channel. One row. */
const NOTIFY = `select pg_notify($1, '')`;

export const notifications: Check = {
  name: 'notifications',
  needs: 'schema',
  async run(patient) {
    const { OUTBOX_WORKER_LISTEN_NOTIFY } = outboxVariables;
    const config = parseEnvironment({ OUTBOX_WORKER_LISTEN_NOTIFY }, patient.env);
    const channel = await notifyChannel(patient.pool);
    const wanted = patient.env['OUTBOX_NOTIFY_CHANNEL']?.trim();
    const findings: Finding[] = [];
    if (isSet(wanted) && wanted !== channel) {
      findings.push(
        warn(
          `OUTBOX_NOTIFY_CHANNEL is ${wanted}, but the database says ${channel}, which is what counts`,
          'run `pulsebox migrate`, or unset it',
        ),
      );
    }
    findings.push(
      config.OUTBOX_WORKER_LISTEN_NOTIFY
        ? await roundTrip(patient)
        : ok('notifications are switched off (OUTBOX_WORKER_LISTEN_NOTIFY): workers poll'),
    );
    if (config.OUTBOX_WORKER_LISTEN_NOTIFY) findings.push(...(await twoPhase(patient)));
    return findings;
  },
};

/** One row: how many transactions may be prepared at once on this server. 0: none, the default. */
const MOST_PREPARED = `select current_setting('max_prepared_transactions')::int as most`;

/** Nobody can see whether a producer does, before it fails. */
async function twoPhase({ pool }: Patient): Promise<Finding[]> {
  const { rows } = await pool.query<{ most: number }>(MOST_PREPARED);
  const most = rows[0]?.most ?? 0;
  if (most === 0) return [];
  return [
    warn(
      `transactions can be prepared here (max_prepared_transactions = ${most}): PREPARE TRANSACTION fails for one that has emitted while a worker sleeps, since that notifies`,
      'have producers that commit in two phases say: set local outbox.notify = off; or set OUTBOX_WORKER_LISTEN_NOTIFY=false for all workers; or max_prepared_transactions = 0 if nobody does',
    ),
  ];
}

/** On a channel of its own: nobody else is woken, and nobody else's notification is taken for ours. */
async function roundTrip({ database, pool, env }: Patient): Promise<Finding> {
  const channel = `pulsebox_doctor_${randomBytes(6).toString('hex')}`;
  const arrived = Promise.withResolvers<'arrived'>();
  const listening = Promise.withResolvers<Error | undefined>();
  let hearing = false;
  const listener = listen({
    connection: database.connections.direct,
    channel: () => Promise.resolve(channel),
    // It also calls when it starts to listen: what was notified before is not ours.
    onNotification: () => hearing && arrived.resolve('arrived'),
    onState: (state, error) =>
      listening.resolve(state === 'listening' ? undefined : (error ?? new Error('lost'))),
  });
  const timer = setTimeout(() => {
    listening.resolve(new Error('no connection in time'));
    late.resolve('late');
  }, PATIENCE_MS);
  const late = Promise.withResolvers<'late'>();
  try {
    const error = await listening.promise;
    if (error !== undefined) {
      return fail(
        `no connection for LISTEN: ${error.message}`,
        'mend DATABASE_DIRECT_URL, or set OUTBOX_WORKER_LISTEN_NOTIFY=false to have workers poll',
      );
    }
    hearing = true;
    const sentAtMs = performance.now();
    await pool.query(NOTIFY, [channel]);
    if ((await Promise.race([arrived.promise, late.promise])) === 'arrived') {
      return ok(`a notification arrives within ${duration((performance.now() - sentAtMs) / 1_000)}`);
    }
    return fail(
      `a notification did not arrive within ${duration(PATIENCE_MS / 1_000)}: LISTEN does not work through a pooler in transaction mode`,
      isSet(env['DATABASE_DIRECT_URL'])
        ? 'DATABASE_DIRECT_URL must lead to the server itself, past any pooler, and to the same database as DATABASE_URL'
        : 'set DATABASE_DIRECT_URL to the server itself, past the pooler; or OUTBOX_WORKER_LISTEN_NOTIFY=false to have workers poll',
    );
  } finally {
    clearTimeout(timer);
    await listener.close();
  }
}
