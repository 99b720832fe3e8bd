// pulsebox groups seek: moves a consumer group to another place in the log.

import type { Command } from 'commander';
import { seekGroup } from '@pulsebox/outbox';
import type { SeekTarget } from '@pulsebox/outbox';
import { CliError } from '../cli-error.ts';
import { withPool } from '../database.ts';
import { exitCodes } from '../exit-code.ts';
import type { ExitCode } from '../exit-code.ts';
import { operator } from '../operator.ts';
import { announceDatabase } from '../session.ts';
import type { Run, Session } from '../session.ts';

interface SeekFlags {
  readonly position?: string;
  readonly time?: string;
  readonly beginning?: true;
  readonly end?: true;
}

const HELP = `
The group goes on from there: events behind the place are delivered, again if they were
before; the others are not. By time means every event written at or after it, on the
database's clock. An event whose transaction is open now is delivered when it commits.
A worker that reads the group hands it over for a moment; nothing has to be stopped.
What is delivered again was written long ago, so it counts as late: alerts on lag and late
deliveries may fire until the group has caught up. What is written meanwhile waits behind it.

Examples:
  pulsebox groups seek search --time 2026-11-20T08:00:00Z
  pulsebox groups seek search --position 120000
  pulsebox groups seek search --beginning
  pulsebox groups seek search --end`;

export function declareSeek(groups: Command, run: Run): void {
  groups
    .command('seek')
    .summary('move a group to another place in the log')
    .description('Moves a consumer group, so that it delivers from another place in the log on.')
    .argument('<name>', 'the consumer group, for instance search')
    .option('--position <n>', 'deliver what stands behind this position')
    .option('--time <iso>', 'deliver what was written at or after this time')
    .option('--beginning', 'deliver all that is kept of the log')
    .option('--end', 'deliver what is yet to come, and nothing else')
    .addHelpText('after', HELP)
    .action((name: string, flags: SeekFlags) => run((session) => seek(session, name, flags)));
}

async function seek(session: Session, group: string, flags: SeekFlags): Promise<ExitCode> {
  const target = targetOf(flags);
  const database = await announceDatabase(session);
  const report = await withPool(
    database,
    (pool) => seekGroup({ pool, group, target, holder: operator() }),
    // Looking for a time reads the log from its start.
    { statementTimeoutMs: undefined },
  );
  session.terminal.result(
    report,
    () => `${group} goes on behind position ${report.position}; it was at ${report.from.join(', ')}`,
  );
  if (report.from.some((position) => position > report.position)) {
    session.terminal.remark(
      'what is delivered again counts as late: alerts on lag and late deliveries may fire until the group has caught up; see pulsebox groups',
    );
  }
  return exitCodes.ok;
}

function targetOf(flags: SeekFlags): SeekTarget {
  const given = Object.keys(flags).filter((name) => ['position', 'time', 'beginning', 'end'].includes(name));
  if (given.length !== 1) {
    throw usage(
      `expected one of --position, --time, --beginning and --end, got ${given.length === 0 ? 'none' : given.join(' and ')}`,
    );
  }
  if (flags.position !== undefined) {
    if (/^\d{1,15}$/.test(flags.position)) return { to: 'position', position: Number(flags.position) };
    throw usage(`expected --position to be a whole number, got "${flags.position}"`);
  }
  if (flags.time !== undefined) {
    // With its zone, or a place in the log would depend on where the operator sits.
    const zoned = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}.*(?:Z|[+-]\d{2}:?\d{2})$/.test(flags.time);
    const time = new Date(flags.time);
    if (zoned && !Number.isNaN(time.getTime())) return { to: 'time', time };
    throw usage(`expected --time to be a time with its zone, got "${flags.time}"`);
  }
  return { to: flags.beginning === true ? 'beginning' : 'end' };
}

function usage(message: string): CliError {
  return new CliError('CLI_USAGE_INVALID', message, {
    hint: 'for instance `pulsebox groups seek search --time 2026-11-20T08:00:00Z`',
  });
}
