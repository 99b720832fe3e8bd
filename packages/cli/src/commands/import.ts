// pulsebox import: hands a file to the workers, and shows how its import gets on.

import { Option } from 'commander';
import type { Command } from 'commander';
import { importFormats, requestImport } from '@pulsebox/imports';
import type { CsvMapping, ImportFormat, ImportRequest } from '@pulsebox/imports';
import { transaction } from '@pulsebox/postgres';
import { CliError } from '../cli-error.ts';
import { withPool } from '../database.ts';
import { exitCodes } from '../exit-code.ts';
import type { ExitCode } from '../exit-code.ts';
import { all } from '../flag-values.ts';
import { endOfImport, followImport } from '../import-progress.ts';
import { placeFile, storageDirectory } from '../import-storage.ts';
import { announceDatabase } from '../session.ts';
import type { Run, Session } from '../session.ts';
import { declareCancel, declarePause, declareResume, declareRetry } from './import-control.ts';
import { declareImportStatus } from './import-status.ts';

interface ImportFlags {
  readonly org?: string;
  readonly user?: string;
  readonly format: ImportFormat | 'auto';
  readonly map?: readonly string[];
  readonly delimiter?: string;
  readonly updateExisting: boolean;
  readonly includeCompleted?: true;
  readonly dryRun?: true;
  readonly events: boolean;
  readonly wait: boolean;
}

const HELP = `
The file is JSON (an array, or an object that holds one under items, data or export), NDJSON or
CSV, plain or packed with gzip. A row is
  {"canonical_id": "…", "item": {"name": "…", …}, "source", "created_at", "updated_at"}
and only the first two must be there. It is copied below FILE_STORAGE_PATH, unless it is there
already, and read by a worker. Ctrl-C ends the watching, not the import.

The exit code is 0 when every row was imported, and 1 when rows, or all of it, failed.

Examples:
  pulsebox import items.ndjson.gz --org acme
  pulsebox import tasks.csv --org acme --map canonical_id=ID --map name=Title --dry-run
  zcat dump.gz | pulsebox import - --org acme --user anna --no-wait
  pulsebox import status
  pulsebox import pause 0198c7f2-…`;

export function declareImport(program: Command, run: Run): void {
  const command = program
    .command('import')
    .summary('import a file of items; watch, pause, resume, cancel, retry')
    .description('Hands a file of items to the workers, and shows how its import gets on.')
    .argument('<file>', 'the file; - for standard input')
    .option('--org <organisation>', 'whose items they become; has to be given')
    .option('--user <user>', 'who is notified of the end')
    .addOption(
      new Option('--format <format>', 'what the file is').choices(['auto', ...importFormats]).default('auto'),
    )
    .option('--map <field=column>', 'for CSV: which column a field is in; may be given several times', all)
    .option('--delimiter <character>', 'for CSV: what stands between fields; found by itself')
    .option('--no-update-existing', 'leave items that are there already as they are')
    .option('--include-completed', 'import completed items, too')
    .option('--dry-run', 'read and check everything, write nothing')
    .option('--no-events', 'emit no item.upserted: nothing is indexed, for instance')
    .option('--no-wait', 'return as soon as the import is requested')
    .helpCommand(false)
    .addHelpText('after', HELP)
    .action((file: string, flags: ImportFlags) => run((session) => importFile(session, file, flags)));
  declareImportStatus(command, run);
  declarePause(command, run);
  declareResume(command, run);
  declareCancel(command, run);
  declareRetry(command, run);
}

async function importFile(session: Session, file: string, flags: ImportFlags): Promise<ExitCode> {
  // Commander would ask for a required option with every command below this one as well.
  const orgId = flags.org ?? missingOrganisation();
  const mapping = mappingOf(flags);
  const signal = session.interruption();
  const database = await announceDatabase(session);
  const directory = storageDirectory(session.env, database);
  return await withPool(database, async (pool) => {
    const placed = await placeFile({ directory, file, cwd: session.cwd, signal, terminal: session.terminal });
    const request: ImportRequest = {
      orgId,
      ownerId: flags.user,
      ...placed,
      format: flags.format,
      mapping,
      updateExisting: flags.updateExisting,
      includeCompleted: flags.includeCompleted,
      dryRun: flags.dryRun,
      emitEvents: flags.events,
    };
    const jobId = await transaction(pool, async (client) => requestImport(client, request)).catch(
      async (error: unknown) => {
        await placed.remove();
        throw error;
      },
    );
    if (!flags.wait) {
      session.terminal.result({ jobId }, () => jobId);
      return exitCodes.ok;
    }
    session.terminal.remark(`import ${jobId}`);
    const status = await followImport({ pool, jobId, terminal: session.terminal, signal });
    if (status === 'interrupted') {
      session.terminal.remark(
        `the import goes on: \`pulsebox import status ${jobId}\` shows it, cancel ends it`,
      );
      return exitCodes.interrupted;
    }
    return await endOfImport(session.terminal, pool, status);
  });
}

function missingOrganisation(): never {
  throw new CliError('CLI_USAGE_INVALID', 'expected --org to say whose items they become', {
    hint: 'for instance `pulsebox import items.ndjson --org acme`',
  });
}

function mappingOf({ map = [], delimiter }: ImportFlags): CsvMapping {
  const columns = map.map((pair) => {
    const at = pair.indexOf('=');
    if (at > 0 && at < pair.length - 1) return [pair.slice(0, at), pair.slice(at + 1)] as const;
    throw new CliError('CLI_USAGE_INVALID', `expected --map to be a field and its column, got "${pair}"`, {
      hint: 'for instance --map canonical_id=ID --map name=Title',
    });
  });
  return {
    ...(columns.length === 0 ? {} : { columns: Object.fromEntries(columns) }),
    ...(delimiter === undefined ? {} : { delimiter: delimiter === '\\t' ? '\t' : delimiter }),
  };
}
