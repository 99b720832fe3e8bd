// pulsebox migrate: brings the database to the schema that this version expects, or says what is missing.

import type { Command } from 'commander';
import { parseEnvironment } from '@pulsebox/loop';
import { setNotifyChannel } from '@pulsebox/outbox';
import { migrate, migrationStatus } from '@pulsebox/postgres';
import type { Migration } from '@pulsebox/postgres';
import { namingDatabase, withPool } from '../database.ts';
import type { Database } from '../database.ts';
import { exitCodes } from '../exit-code.ts';
import type { ExitCode } from '../exit-code.ts';
import { plural } from '../quantities.ts';
import { notifyChannelVariable } from '../notify-channel-variable.ts';
import { allMigrations } from '../schema.ts';
import { announceDatabase } from '../session.ts';
import type { Run, Session } from '../session.ts';

const EXAMPLES = `
Each migration runs in a transaction of its own under a lock: any number of replicas may
migrate at once, and each migration is applied once. OUTBOX_NOTIFY_CHANNEL, when it is set,
is stored in the database, where triggers and workers read it.

Examples:
  pulsebox migrate                    apply what is pending
  pulsebox migrate --check            change nothing; exit 1 when something is pending
  DATABASE_DIRECT_URL=… pulsebox migrate
                                      past a pooler, straight to the server`;

export function declareMigrate(program: Command, run: Run): void {
  program
    .command('migrate')
    .summary('create or update the tables in the database')
    .description(
      'Creates or updates the tables of Pulsebox: leases, jobs, the log, the sample application with mail and push, search.',
    )
    .option('--check', 'change nothing; exit 1 when a migration is pending')
    .addHelpText('after', EXAMPLES)
    .action((options: { check?: true }) => run(options.check ? checkMigrations : applyMigrations));
}

async function applyMigrations(session: Session): Promise<ExitCode> {
  const { OUTBOX_NOTIFY_CHANNEL: wanted } = parseEnvironment(notifyChannelVariable, session.env);
  const database = await announceDatabase(session);
  const { applied } = await namingDatabase(database, () =>
    migrate(database.connections.direct, allMigrations),
  );
  const channelChanged = wanted !== undefined && (await storeChannel(database, wanted));
  session.terminal.result({ applied: applied.map(summary), notifyChannelChanged: channelChanged }, () =>
    [
      ...applied.map((migration) => `applied ${label(migration)}`),
      ...(channelChanged ? [`the NOTIFY channel is ${wanted} now`] : []),
      applied.length === 0
        ? `${database.where} is up to date`
        : `${database.where} is up to date: ${plural(applied.length, 'migration')} applied`,
    ].join('\n'),
  );
  return exitCodes.ok;
}

async function checkMigrations(session: Session): Promise<ExitCode> {
  const database = await announceDatabase(session);
  const status = await namingDatabase(database, () =>
    migrationStatus(database.connections.direct, allMigrations),
  );
  session.terminal.result(
    { applied: status.applied.map(summary), pending: status.pending.map(summary) },
    () =>
      status.pending.length === 0
        ? `${database.where} is up to date: ${plural(status.applied.length, 'migration')} applied`
        : [
            ...status.pending.map((migration) => `pending ${label(migration)}`),
            `${database.where} lacks ${plural(status.pending.length, 'migration')}; \`pulsebox migrate\` applies them`,
          ].join('\n'),
  );
  return status.pending.length === 0 ? exitCodes.ok : exitCodes.no;
}

async function storeChannel(database: Database, channel: string): Promise<boolean> {
  return await withPool(database, (pool) => setNotifyChannel(pool, channel));
}

function label(migration: Migration): string {
  return `${migration.set}/${migration.name}`;
}

function summary({ set, number, name }: Migration): Pick<Migration, 'set' | 'number' | 'name'> {
  return { set, number, name };
}
