// All commands of pulsebox, with help that teaches them.

import { readFileSync } from 'node:fs';
import { styleText } from 'node:util';
import { Command } from 'commander';
import type { EnvironmentSchema } from '@pulsebox/loop';
import { declareDead } from './commands/dead.ts';
import { declareDoctor } from './commands/doctor.ts';
import { declareEmit } from './commands/emit.ts';
import { declareGroups } from './commands/groups.ts';
import { declareImport } from './commands/import.ts';
import { declareMail } from './commands/mail.ts';
import { declareMigrate } from './commands/migrate.ts';
import { declarePubSub } from './commands/pubsub.ts';
import { declarePush } from './commands/push.ts';
import { declareReindex } from './commands/reindex.ts';
import { declareRuntimes } from './commands/runtimes.ts';
import { declareSearch } from './commands/search.ts';
import { declareStatus } from './commands/status.ts';
import { declareVapid } from './commands/vapid.ts';
import { cliVariables } from './cli-variables.ts';
import { EXIT_CODES_HELP } from './exit-code.ts';
import type { Run } from './session.ts';

/** In the order in which help lists them. */
const COMMANDS: readonly ((program: Command, run: Run) => void)[] = [
  declareMigrate,
  declareEmit,
  declareStatus,
  declareGroups,
  declareDead,
  declareSearch,
  declareReindex,
  declareImport,
  declareMail,
  declarePubSub,
  declarePush,
  declareRuntimes,
  declareVapid,
  declareDoctor,
];

const START = `
Without DATABASE_URL and POSTGRES_HOST, pulsebox looks for a running npm start, here and in
the folders above, and works on its database.

Start here:
  pulsebox migrate                                   create the tables
  pulsebox emit note.saved '{"note_id": 42}'         add an event to the log
  pulsebox status                                    see how everything is
  pulsebox doctor                                    find out why it is not well
  pulsebox help emit                                 learn more about one command

Environment:
${environmentHelp(cliVariables)}

${EXIT_CODES_HELP}`;

/** Faults in the command line are thrown as commander's CommanderError; nothing ends the process. */
export function createProgram(run: Run): Command {
  const program: Command = new Command('pulsebox')
    .description("The operator's command for Pulsebox: transactional event log, consumer groups, search.")
    .version(version(), '--version', 'show the version')
    .helpOption('--help', 'show help, also for each command')
    .helpCommand('help [command]', 'show help for a command')
    .option('--json', 'print the result as JSON, for machines')
    .option('--verbose', 'after an error show where it comes from (also with DEBUG set)')
    .configureHelp({
      showGlobalOptions: true,
      // Commander lists those of every command on the way: `import status` has no use for what `import` takes.
      visibleGlobalOptions: (command) => (command === program ? [] : [...program.options]),
      // Commander takes the styles out again where there is no terminal.
      styleTitle: (title) => styleText('bold', title, { validateStream: false }),
    })
    // Told by run-cli.ts, in the same words as every other fault.
    .configureOutput({ outputError: () => undefined })
    .exitOverride()
    .addHelpText('after', START);
  for (const declare of COMMANDS) declare(program, run);
  return program;
}

function environmentHelp(schema: EnvironmentSchema): string {
  const width = Math.max(...Object.keys(schema).map((name) => name.length));
  return Object.entries(schema)
    .map(([name, { description, defaultText }]) => {
      const standard = defaultText === undefined ? '' : ` (default ${defaultText})`;
      return `  ${name.padEnd(width)}  ${description}${standard}`;
    })
    .join('\n');
}

function version(): string {
  const text = readFileSync(new URL('../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
