// All commands of pulsebox, with help that teaches them.

import { readFileSync } from 'node:fs';
import { styleText } from 'node:util';
import { Command } from 'commander';
import type { EnvironmentSchema } from '@pulsebox/loop';
import { cliVariables } from './cli-variables.ts';
import { EXIT_CODES_HELP } from './exit-code.ts';
import type { Run } from './session.ts';

type Declare = (program: Command, run: Run) => void;

/**
 * In the order in which help lists them. Each brings what it works with: clients of Google alone take a fifth of a second
 * to load, and an operator who looks at groups should not wait for them.
 */
const COMMANDS: Readonly<Record<string, () => Promise<Declare>>> = {
  migrate: async () => (await import('./commands/migrate.ts')).declareMigrate,
  emit: async () => (await import('./commands/emit.ts')).declareEmit,
  status: async () => (await import('./commands/status.ts')).declareStatus,
  groups: async () => (await import('./commands/groups.ts')).declareGroups,
  dead: async () => (await import('./commands/dead.ts')).declareDead,
  search: async () => (await import('./commands/search.ts')).declareSearch,
  reindex: async () => (await import('./commands/reindex.ts')).declareReindex,
  import: async () => (await import('./commands/import.ts')).declareImport,
  mail: async () => (await import('./commands/mail.ts')).declareMail,
  pubsub: async () => (await import('./commands/pubsub.ts')).declarePubSub,
  push: async () => (await import('./commands/push.ts')).declarePush,
  runtimes: async () => (await import('./commands/runtimes.ts')).declareRuntimes,
  vapid: async () => (await import('./commands/vapid.ts')).declareVapid,
  doctor: async () => (await import('./commands/doctor.ts')).declareDoctor,
};

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

/**
 * Faults in the command line are thrown as commander's CommanderError; nothing ends the process.
 *
 * @param argv the command that it names is the only one that is loaded. Default, and where it names none: all.
 */
export async function createProgram(run: Run, argv: readonly string[] = []): Promise<Command> {
  const program: Command = new Command('pulsebox')
    .description("The operator's command for Pulsebox: transactional event log, consumer groups, search.")
    .version(version(), '--version', 'show the version')
    .helpOption('--help', 'show help, also for each command')
    .helpCommand('help [command...]', 'show help for a command')
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
  for (const declare of await commandsFor(argv)) declare(program, run);
  return program;
}

const TOLD_AT_ONCE: ReadonlySet<string> = new Set(['--help', '--version']);

async function commandsFor(argv: readonly string[]): Promise<readonly Declare[]> {
  // The options before a command take no values. Help before it is that of all, and the version is that of none.
  const start = argv.findIndex((argument) => TOLD_AT_ONCE.has(argument) || !argument.startsWith('-'));
  if (argv[start] === '--version') return [];
  const word = argv[argv[start] === 'help' ? start + 1 : start] ?? '';
  const named = Object.hasOwn(COMMANDS, word) ? COMMANDS[word] : undefined;
  const loads = named === undefined ? Object.values(COMMANDS) : [named];
  return await Promise.all(loads.map((load) => load()));
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
