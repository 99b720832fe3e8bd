// What the parser makes of command lines: faults that say how it is written, and every line that a document shows.

import { globSync, readFileSync } from 'node:fs';
import { CommanderError } from 'commander';
import type { Command } from 'commander';
import { describe, expect, test } from 'vitest';
import { commandLineFault, spellOutHelp } from '../src/command-line-fault.ts';
import { createProgram } from '../src/program.ts';

const root = new URL('../../../', import.meta.url);

/** Running text may name a command without what it takes. */
const LACKING: readonly string[] = ['commander.missingArgument', 'commander.missingMandatoryOptionValue'];

/** The fault of a command line, told as on a terminal; undefined: it would be run. */
async function faultOf(argv: readonly string[], only?: 'named'): Promise<string | undefined> {
  const program = await createProgram(async () => undefined, argv);
  const line = spellOutHelp(program, argv);
  if ('exitCode' in line) return `${line.message}\n${line.hint}`;
  try {
    silent(program);
    await program.parseAsync(line, { from: 'user' });
    return undefined;
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0 || error.code === 'commander.help') return undefined;
    if (only === 'named' && LACKING.includes(error.code)) return undefined;
    const { message, hint } = commandLineFault(error, program, argv);
    return `${message}\n${hint}`;
  }
}

function silent(command: Command): void {
  command.configureOutput({ writeOut: () => undefined, writeErr: () => undefined });
  command.commands.forEach(silent);
}

describe('a command line that cannot be understood', () => {
  test.each<[argv: readonly string[], told: readonly string[]]>([
    [
      ['emit', 't'],
      ["missing required argument 'json'", 'write pulsebox emit [options] <topic> <json>'],
    ],
    [
      ['import', 'pause'],
      ["missing required argument 'id'", '`pulsebox import pause --help` explains it'],
    ],
    [
      ['emit', 't', '{}', '--keey', 'x'],
      ["unknown option '--keey'", 'did you mean --key?'],
    ],
    [['emti'], ["unknown command 'emti'", 'did you mean emit?']],
    [
      ['mail', 'list'],
      ["unknown command 'list'", 'there are: connect, status, rotate-keys;'],
    ],
    [
      ['groups', 'sek', 'x'],
      ["too many arguments for 'groups'", 'there are: seek, resize, retire;'],
    ],
    [
      ['help', 'nope'],
      ["unknown command 'nope'", 'there are: migrate, emit, status'],
    ],
    [
      ['help', 'groups', 'nope'],
      ["unknown command 'nope'", 'there are: seek, resize, retire;'],
    ],
    [
      ['dead', 'help', 'nope'],
      ["unknown command 'nope'", 'there are: list, show, replay, discard;'],
    ],
    [
      ['--jsn', 'status'],
      ["unknown option '--jsn'", 'did you mean --json?'],
    ],
  ])('%j', async (argv, told) => {
    const said = await faultOf(argv);
    for (const part of told) expect(said).toContain(part);
  });
});

test('a command that is named is the only one that is loaded; without a name, all are', async () => {
  const names = async (...argv: string[]): Promise<string[]> =>
    (await createProgram(async () => undefined, argv)).commands.map((command) => command.name());
  const all = await names();
  expect(all.length).toBeGreaterThan(10);
  for (const name of all) expect(await names('--json', name, '--help')).toEqual([name]);
  for (const argv of [['--help'], ['--help', 'groups'], ['help'], ['gruops'], ['toString']])
    expect(await names(...argv)).toEqual(all);
  expect(await names('help', 'groups')).toEqual(['groups']);
  expect(await names('--json', '--version')).toEqual([]);
});

test.each<[argv: readonly string[], same: readonly string[]]>([
  [['help'], ['--help']],
  [['help', 'help'], ['--help']],
  [
    ['help', 'groups', 'seek'],
    ['groups', 'seek', '--help'],
  ],
  [
    ['groups', 'help', 'seek'],
    ['groups', 'seek', '--help'],
  ],
  [
    ['help', 'import', 'status'],
    ['import', 'status', '--help'],
  ],
  [
    ['help', 'emit', 'note.taken'],
    ['emit', '--help'],
  ],
  // Words that a command takes for itself: a query, a file.
  [
    ['search', 'help'],
    ['search', 'help'],
  ],
  [
    ['import', 'help'],
    ['import', 'help'],
  ],
])('%j is %j', async (argv, same) => {
  expect(spellOutHelp(await createProgram(async () => undefined, argv), argv)).toEqual(same);
});

test('the help of a command below another shows no options that only the other one takes', async () => {
  const program = await createProgram(async () => undefined);
  const status = program.commands
    .find((command) => command.name() === 'import')
    ?.commands.find((command) => command.name() === 'status');
  expect(status?.helpInformation()).toContain('--json');
  expect(status?.helpInformation()).not.toContain('--delimiter');
});

describe('what documents show can be typed', () => {
  const pages = globSync(['*.md', '{docs,k8s,examples}/**/*.md', '{packages,test}/*/README.md'], {
    cwd: root,
  }).filter((page) => page !== 'CHANGELOG.md');

  test.each(pages)('%s', async (page) => {
    const text = read(page);
    const faults = await Promise.all([
      ...inBlocks(text).map(async (line) => [line, await faultOf(words(line))] as const),
      ...inRunningText(text).map(async (line) => [line, await faultOf(words(line), 'named')] as const),
    ]);
    expect(faults.filter(([, fault]) => fault !== undefined)).toEqual([]);
  });

  test('the examples of --help', async () => {
    const examples = everyCommand(await createProgram(async () => undefined)).flatMap((command) => {
      let help = '';
      command.configureOutput({ writeOut: (text) => (help += text) });
      command.outputHelp();
      return [...help.matchAll(/^ {2}(?:.*\| )?pulsebox (.*)$/gm)].map(([, line = '']) => line);
    });
    expect(examples.length).toBeGreaterThan(50);
    const faults = await Promise.all(
      examples.map(async (line) => [line, await faultOf(words(line.replace(/ {3,}.*/, '')))] as const),
    );
    expect(faults.filter(([, fault]) => fault !== undefined)).toEqual([]);
  });
});

function read(page: string): string {
  return readFileSync(new URL(page, root), 'utf8');
}

function everyCommand(command: Command): Command[] {
  return [command, ...command.commands.flatMap(everyCommand)];
}

const BLOCK = /^ *```(?:sh|console)?\n([^]*?)^ *```$/gm;

/** What follows `pulsebox` in blocks of shell. */
function inBlocks(text: string): string[] {
  return [...text.matchAll(BLOCK)]
    .flatMap(([, block = '']) => block.replaceAll('\\\n', ' ').split('\n'))
    .map((line) => /^(?:[^#']*\s)?pulsebox ((?!:).*)$/.exec(line.trim())?.[1])
    .filter((line): line is string => line !== undefined);
}

/** And between single backticks, where nothing is left out. */
function inRunningText(text: string): string[] {
  return [...text.replaceAll(/^ *```[^]*?^ *```$/gm, '').matchAll(/`(?:npx )?pulsebox ([^`]+)`/g)]
    .map(([, line = '']) => line.replaceAll('\n', ' '))
    .filter((line) => !/[[\]…|]/.test(line));
}

/** As a shell splits them, up to a comment, a redirection or another command. */
function words(line: string): string[] {
  const found: string[] = [];
  for (const [token] of line.matchAll(/(?:'[^']*'|"[^"]*"|[^\s'"])+/g)) {
    if (/^(?:#|[|<>&;]|[12]>)/.test(token)) break;
    found.push(token.replaceAll(/'([^']*)'|"([^"]*)"/g, '$1$2'));
  }
  return found;
}
