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

/**
 * `help groups seek` is `groups seek --help`, and so is `groups help seek`. Commander reads one word behind help, says
 * nothing of those that follow, and shows the help of all for a name that there is none of.
 *
 * @returns the line to parse, the same one where no help is asked for by that word; or what is wrong with it
 */
export function spellOutHelp(program: Command, argv: readonly string[]): readonly string[] | Fault {
  const words = argv.filter((argument) => !argument.startsWith('-'));
  const named: string[] = [];
  let command = program;
  let asked = false;
  for (const word of words) {
    const next = child(command, word);
    if (next !== undefined) {
      named.push(word);
      command = next;
    } else if (word === 'help' && mustNameNext(command)) asked = true;
    else if (asked && mustNameNext(command))
      return usageFault(`unknown command '${word}'`, [thereAre(command)]);
    else break;
  }
  return asked ? [...argv.filter((argument) => argument.startsWith('-')), ...named, '--help'] : argv;
}

/** It takes no words but the names of its commands. */
function mustNameNext(command: Command): boolean {
  return command.commands.length > 0 && command.registeredArguments.length === 0;
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
