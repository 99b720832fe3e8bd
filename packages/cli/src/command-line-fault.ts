// What is said of a command line that cannot be understood: what is wrong with it, and how it is written.

import type { Command, CommanderError } from 'commander';
import { exitCodes } from './exit-code.ts';
import type { Fault } from './fault.ts';

export function commandLineFault(
  { message, code }: CommanderError,
  program: Command,
  argv: readonly string[],
): Fault {
  const [said = '', suggestion] = message.replace(/^error: /, '').split('\n');
  const command = commandNamed(program, argv);
  // `groups` does something by itself: of a word that names none of its commands it says that it is one too many.
  const misnamed =
    code === 'commander.unknownCommand' ||
    (code === 'commander.excessArguments' && command.commands.length > 0);
  if (suggestion === undefined) return usageFault(said, [misnamed ? thereAre(command) : howTo(command)]);
  const meant = suggestion.replaceAll(/^\(|\)$/g, '').toLowerCase();
  return usageFault(said, [meant, misnamed ? `\`${path(command)} --help\` shows all` : howTo(command)]);
}

/** `pulsebox help NAME` of a name that there is none of: commander would show the help of all and say nothing of it. */
export function unknownHelp(program: Command, argv: readonly string[]): Fault | undefined {
  const [word, name] = argv.filter((argument) => !argument.startsWith('-'));
  if (word !== 'help' || name === undefined || child(program, name) !== undefined || name === 'help')
    return undefined;
  return usageFault(`unknown command '${name}'`, [thereAre(program)]);
}

function usageFault(message: string, hints: readonly string[]): Fault {
  return { code: 'CLI_USAGE_INVALID', message, hint: hints.join('\n'), exitCode: exitCodes.usage };
}

/** The innermost command that the line names. */
function commandNamed(program: Command, argv: readonly string[]): Command {
  let command = program;
  for (const argument of argv) {
    if (argument.startsWith('-')) continue;
    const next = child(command, argument);
    if (next === undefined) break;
    command = next;
  }
  return command;
}

function child(command: Command, name: string): Command | undefined {
  return command.commands.find((candidate) => candidate.name() === name);
}

function thereAre(command: Command): string {
  const names = command.commands.map((each) => each.name()).filter((name) => name !== 'help');
  return `there are: ${names.join(', ')}; \`${path(command)} --help\` says what each is for`;
}

function howTo(command: Command): string {
  if (command.parent === null) return '`pulsebox --help` shows all commands, `pulsebox help COMMAND` one';
  return `write ${path(command)} ${command.usage()}\n\`${path(command)} --help\` explains it`;
}

function path(command: Command): string {
  return command.parent === null ? command.name() : `${path(command.parent)} ${command.name()}`;
}
