// Every command that the pages for operators show has been run by some test, or says what it needs; and what they name of the
// command `pulsebox`, of npm's scripts, of metrics and of the dashboard is there.

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { createProgram } from '../../packages/cli/src/program.ts';
import { ROWS } from '../../scripts/monitoring/dashboard.ts';
import { commandsOf, PAGES, textOf } from './documented.ts';

type Command = Awaited<ReturnType<typeof createProgram>>;

const ROOT = join(import.meta.dirname, '..', '..');

/** Who runs a command that begins so. */
const RUN_BY: Readonly<Record<string, string>> = {
  'npm run k8s:pin': 'test/k8s/deploy.test.ts',
  'npm run k8s:deploy': 'test/k8s/deploy.test.ts',
  'git commit': 'test/k8s/deploy.test.ts',
  'npm run k8s:verify': 'package.json',
  'npx pulsebox groups resize': 'packages/cli/test/groups-resize.test.ts',
  createdb: 'test/k8s/backup.test.ts',
  pg_restore: 'test/k8s/backup.test.ts',
};

test('each is run by a test, or says that it needs a cluster or an engine', () => {
  const shown = PAGES.flatMap((page) => commandsOf(page).map((command) => ({ page, ...command })));
  const plain = shown.filter(({ marked }) => !marked);
  const runBy = (line: string): string | undefined =>
    Object.entries(RUN_BY).find(([beginning]) => line.startsWith(beginning))?.[1];
  expect(plain.filter(({ line }) => runBy(line) === undefined)).toEqual([]);
  expect(plain.filter(({ line }) => /^(?:kubectl|docker|nerdctl|curl)\b/.test(line))).toEqual([]);
  expect(
    Object.keys(RUN_BY).filter((beginning) => !plain.some(({ line }) => line.startsWith(beginning))),
  ).toEqual([]);
  expect(Object.values(RUN_BY).filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
});

test('pulsebox has every command that a page names', async () => {
  const program = await createProgram((() => undefined) as never);
  const named = PAGES.flatMap((page) => [
    ...[...textOf(page).matchAll(/`(?:npx )?pulsebox ([^`]+)`/g)].map(([, words = '']) => words),
    ...commandsOf(page).flatMap(({ line }) => /^(?:npx )?pulsebox (.+)$/.exec(line)?.[1] ?? []),
  ]);
  expect(named.length).toBeGreaterThan(10);
  expect(
    [...new Set(named)].filter((words) => !understands(program, words.match(/'[^']*'|\S+/g) ?? [])),
  ).toEqual([]);
  expect(understands(program, ['dead', 'revive', '7'])).toBe(false);
  expect(understands(program, ['groups', 'resize', 'search', '4', '--fast'])).toBe(false);
});

test('package.json has every script that a page names', () => {
  const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { scripts: object };
  const named = PAGES.flatMap((page) =>
    [...textOf(page).matchAll(/npm run ([\w:]+)/g)].map(([, name]) => name),
  );
  expect(named).toContain('k8s:deploy');
  expect(named.filter((name) => !Object.hasOwn(scripts, name ?? ''))).toEqual([]);
  expect(scripts).toHaveProperty('check', expect.stringContaining('npm run k8s:verify'));
});

test('runbooks name metrics that there are, and panels that the dashboard has', () => {
  const runbooks = PAGES.filter((page) => page.startsWith('runbooks/')).map(textOf);
  const documented = readFileSync(join(ROOT, 'docs', 'metrics.md'), 'utf8');
  const metrics = runbooks.flatMap((text) =>
    [
      ...text.matchAll(/`((?:outbox|worker|push|pubsub|gmail|imports|runtimes|schedule|postgres)_[a-z_]+)/g),
    ].map(([, name]) => name),
  );
  expect(metrics.filter((name) => !documented.includes(`\`${name}\``))).toEqual([]);
  const titles = ROWS.flatMap(({ title, panels }) => [title, ...panels.map((panel) => panel.title)]);
  const panels = runbooks.flatMap((text) =>
    [...text.matchAll(/(?<!\*)\*([A-Z][^*\n]+)\*(?!\*)/g)].map(([, name]) => name),
  );
  expect(panels.filter((name) => !titles.includes(name ?? ''))).toEqual([]);
});

/** Whether the words are a command with no more arguments than it takes, and options that it has. */
function understands(program: Command, words: readonly string[]): boolean {
  const [word = '', ...rest] = words;
  const child = program.commands.find((one) => one.name() === word);
  if (child !== undefined) return understands(child, rest);
  const plain = words.filter((one) => !one.startsWith('-'));
  const takes = program.registeredArguments;
  return (
    (plain.length <= takes.length || (takes.at(-1)?.variadic ?? false)) &&
    words
      .filter((one) => one.startsWith('--'))
      .every((option) => program.options.some(({ long }) => long === option.split('=')[0]))
  );
}
