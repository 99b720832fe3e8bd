// pulsebox doctor: says what is wrong with this configuration and this database, and how to mend it.

import { InvalidArgumentError } from 'commander';
import type { Command } from 'commander';
import { examine } from '../doctor/examine.ts';
import type { CheckedFinding } from '../doctor/examine.ts';
import { exitCodes } from '../exit-code.ts';
import type { ExitCode } from '../exit-code.ts';
import { plural } from '../quantities.ts';
import type { Run, Session } from '../session.ts';
import type { Style, Terminal } from '../terminal.ts';

const EXAMPLES = `
Run it with the environment of the worker that does not do what it should: the variables
are checked as the worker would read them. Nothing is changed, in the database or elsewhere.
Exit code 1 when a check failed; warnings alone do not count.

Examples:
  pulsebox doctor
  pulsebox doctor --older-than 1
  pulsebox doctor --json | jq '.checks[] | select(.status == "fail")'`;

export function declareDoctor(program: Command, run: Run): void {
  program
    .command('doctor')
    .summary('say what is wrong, and how to mend it')
    .description(
      'Looks for what is wrong with this configuration and this database, and says how to mend it.',
    )
    .option('--older-than <minutes>', 'warn of transactions that are open for longer', minutes, 5)
    .addHelpText('after', EXAMPLES)
    .action((options: { olderThan: number }) => run((session) => diagnose(session, options.olderThan)));
}

async function diagnose({ env, cwd, terminal }: Session, longTransactionMinutes: number): Promise<ExitCode> {
  const checks = await examine({ env, cwd, longTransactionMinutes });
  const healthy = checks.every(({ status }) => status !== 'fail');
  terminal.result({ ok: healthy, checks }, () => render(checks, terminal.style));
  return healthy ? exitCodes.ok : exitCodes.no;
}

const STYLES: Readonly<Record<CheckedFinding['status'], Style>> = {
  ok: 'green',
  warn: 'yellow',
  fail: 'red',
  skip: 'dim',
};

function render(checks: readonly CheckedFinding[], style: Terminal['style']): string {
  const width = Math.max(...checks.map(({ check }) => check.length));
  const lines = checks.map(({ check, status, message, remedy }) => {
    const line = `${style(STYLES[status], status.padEnd(4))}  ${check.padEnd(width)}  ${message}`;
    return remedy === null
      ? line
      : `${line}\n${' '.repeat(width + 8)}${style('bold', 'mend:')} ${remedy.replaceAll('\n', `\n${' '.repeat(width + 14)}`)}`;
  });
  const count = (status: CheckedFinding['status']): number =>
    checks.filter((check) => check.status === status).length;
  return `${lines.join('\n')}\n\n${verdict(count('fail'), count('warn'), count('skip'))}`;
}

function verdict(failed: number, warned: number, skipped: number): string {
  const found = [
    ...(failed === 0 ? [] : [plural(failed, 'problem')]),
    ...(warned === 0 ? [] : [plural(warned, 'warning')]),
  ];
  const unasked = skipped === 0 ? '' : ` (${plural(skipped, 'check')} skipped)`;
  return `${found.length === 0 ? 'all is well' : found.join(', ')}${unasked}`;
}

function minutes(text: string): number {
  const value = /^\d+(?:\.\d+)?$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isFinite(value)) return value;
  throw new InvalidArgumentError('Expected a number of minutes, 0 or more.');
}
