// pulsebox status: database, log, groups and workers on one screen.

import type { Command } from 'commander';
import { groupStatus } from '@pulsebox/outbox';
import type { GroupStatus } from '@pulsebox/outbox';
import { migrationStatus } from '@pulsebox/postgres';
import { namingFault, withPool } from '../database.ts';
import type { Database } from '../database.ts';
import { exitCodes } from '../exit-code.ts';
import type { ExitCode } from '../exit-code.ts';
import { faultOf } from '../fault.ts';
import { deadLettersRemark, groupColumns, NO_GROUPS, pausesRemark } from '../group-columns.ts';
import { logSummary } from '../log-summary.ts';
import type { LogSummary } from '../log-summary.ts';
import { bytes, count, duration, plural } from '../quantities.ts';
import { allMigrations } from '../schema.ts';
import { announceDatabase } from '../session.ts';
import type { Run, Session } from '../session.ts';
import { renderTable } from '../table.ts';
import { printable } from '../terminal.ts';
import type { Terminal } from '../terminal.ts';
import { askWorkers, knownWorkers } from '../worker-health.ts';
import type { WorkerHealth } from '../worker-health.ts';

interface Status {
  readonly database: {
    readonly where: string;
    readonly source: Database['source'];
    readonly reachable: boolean;
    readonly serverVersion: string | null;
    /** How many. Null, and below: could not be asked. */
    readonly migrationsApplied: number | null;
    /** `set/number_name` */
    readonly migrationsPending: readonly string[] | null;
    /** Why it is not reachable, or why its schema cannot be used; null when all is well. */
    readonly fault: string | null;
  };
  readonly log: LogSummary | null;
  readonly groups: readonly GroupStatus[] | null;
  readonly workers: readonly WorkerHealth[];
}

const EXAMPLES = `
Workers are asked where a running npm start says they are, or on WORKER_HEALTH_PORT.
Exit code 3 when the database is away, 2 when it lacks tables.

Examples:
  pulsebox status
  watch -n 2 pulsebox status
  WORKER_HEALTH_PORT=9090 pulsebox status --json`;

export function declareStatus(program: Command, run: Run): void {
  program
    .command('status')
    .summary('show database, log, groups and workers on one screen')
    .description('Shows the database, the log, the consumer groups and the health of workers on one screen.')
    .addHelpText('after', EXAMPLES)
    .action(() => run(showStatus));
}

async function showStatus(session: Session): Promise<ExitCode> {
  const database = await announceDatabase(session);
  const asking = askWorkers(knownWorkers(database, session.env));
  const { known, exitCode } = await askDatabase(database);
  const status: Status = { ...known, workers: await asking };
  session.terminal.result(status, () => render(status, session.terminal));
  return exitCode;
}

/** A database that is away, or whose schema is not ours, is part of the picture, not the end of it. */
async function askDatabase(
  database: Database,
): Promise<{ readonly known: Omit<Status, 'workers'>; readonly exitCode: ExitCode }> {
  let known: Omit<Status, 'workers'> = {
    database: {
      where: database.where,
      source: database.source,
      reachable: false,
      serverVersion: null,
      migrationsApplied: null,
      migrationsPending: null,
      fault: null,
    },
    log: null,
    groups: null,
  };
  let exitCode: ExitCode = exitCodes.ok;

  /** Adds what `ask` finds out; what keeps it from that is added instead. False: no use in asking further. */
  async function learn(ask: () => Promise<Partial<Status>>): Promise<boolean> {
    try {
      known = { ...known, ...(await ask()) };
      return true;
    } catch (error) {
      const fault = faultOf(namingFault(error, database));
      if (fault.code === 'CLI_UNEXPECTED') throw error;
      exitCode = fault.exitCode;
      known = { ...known, database: { ...known.database, fault: `${fault.message} (${fault.hint})` } };
      return false;
    }
  }

  await withPool(database, async (pool) => {
    const reached = await learn(async () => {
      const { rows } = await pool.query<{ version: string }>(SERVER_VERSION);
      return { database: { ...known.database, reachable: true, serverVersion: rows[0]?.version ?? null } };
    });
    if (!reached) return;
    await learn(async () => {
      const { applied, pending } = await migrationStatus(database.connections.pooled, allMigrations);
      const migrationsPending = pending.map(({ set, name }) => `${set}/${name}`);
      return { database: { ...known.database, migrationsApplied: applied.length, migrationsPending } };
    });
    await learn(async () => ({ log: await logSummary(pool), groups: await groupStatus(pool) }));
  });
  return { known, exitCode };
}

/** One row. No index. */
const SERVER_VERSION = `select current_setting('server_version') as version`;

function render(status: Status, { style }: Terminal): string {
  const { database, log, groups, workers } = status;
  return [
    style('bold', 'Database'),
    `  ${database.where}, ${describeServer(status, style)}`,
    ...(database.fault === null ? [] : [`  ${style('red', printable(database.fault))}`]),
    '',
    style('bold', 'Log'),
    `  ${log === null ? style('dim', 'unknown') : describeLog(log)}`,
    '',
    style('bold', 'Groups'),
    indent(
      groups === null
        ? style('dim', 'unknown')
        : groups.length === 0
          ? NO_GROUPS
          : renderTable(groups, groupColumns(style), style) +
            pausesRemark(groups, style) +
            deadLettersRemark(groups, style),
    ),
    '',
    style('bold', 'Workers'),
    indent(
      workers.length === 0
        ? style('dim', 'not known: set WORKER_HEALTH_PORT, or run this beside npm start')
        : workers.map((worker) => describeWorker(worker, style)).join('\n'),
    ),
  ].join('\n');
}

function describeServer({ database }: Status, style: Terminal['style']): string {
  if (!database.reachable) return style('red', 'away');
  const pending = database.migrationsPending ?? [];
  const schema =
    database.migrationsPending === null
      ? 'schema unknown'
      : pending.length === 0
        ? 'schema up to date'
        : style('yellow', `${plural(pending.length, 'migration')} pending: run pulsebox migrate`);
  return `PostgreSQL ${database.serverVersion ?? '?'}, ${schema}`;
}

function describeLog(log: LogSummary): string {
  const events = `${log.eventsExact ? '' : 'about '}${plural(log.events, 'event')}`;
  const kept =
    log.oldestPosition === null ? '' : `, kept from ${count(log.oldestPosition)} (${log.oldestAt})`;
  return `${events}, last position ${count(log.lastPosition)}${kept}, ${plural(log.partitions, 'partition')}, ${bytes(log.sizeBytes)}`;
}

function describeWorker(worker: WorkerHealth, style: Terminal['style']): string {
  const { name, healthUrl, status, uptimeSeconds, secondsSinceLastPoll, problems } = worker;
  const colour = status === 'ok' ? 'green' : status === 'off' ? 'dim' : 'red';
  const details = [
    ...(uptimeSeconds === null ? [] : [`up ${duration(uptimeSeconds)}`]),
    ...(secondsSinceLastPoll === null ? [] : [`last poll ${duration(secondsSinceLastPoll)} ago`]),
    ...problems,
  ].map((detail) => `, ${detail}`);
  return (
    printable(`${name} `) + style(colour, printable(status)) + printable(`${details.join('')}  ${healthUrl}`)
  );
}

function indent(text: string): string {
  return text.replaceAll(/^/gm, '  ');
}
