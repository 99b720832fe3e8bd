// An import as it gets on: a bar where somebody watches, a line for each state elsewhere; and what there is to say of one.

import { setTimeout as delay } from 'node:timers/promises';
import { importFaults, readImport } from '@pulsebox/imports';
import type { ImportFault, ImportStatus } from '@pulsebox/imports';
import type { Pool } from 'pg';
import { CliError } from './cli-error.ts';
import { exitCodes } from './exit-code.ts';
import type { ExitCode } from './exit-code.ts';
import { bytes, count, duration, plural } from './quantities.ts';
import { printable } from './terminal.ts';
import type { Terminal } from './terminal.ts';

export interface FollowOptions {
  readonly pool: Pool;
  readonly jobId: string;
  readonly terminal: Terminal;
  readonly signal: AbortSignal;
}

const LOOK_EVERY_MS = 250;
/** Where nobody picks it up, something is not as it should be. */
const PATIENCE_MS = 10_000;
const SHOWN_FAULTS = 10;
const BAR_WIDTH = 24;

/** Watches it until it has ended or is paused. */
export async function followImport(options: FollowOptions): Promise<ImportStatus | 'interrupted'> {
  const { pool, jobId, terminal, signal } = options;
  const startedAtMs = performance.now();
  let said = '';
  let wondered = false;
  try {
    for (;;) {
      const status = await readImport(pool, jobId);
      if (status === undefined)
        throw new CliError('CLI_USAGE_INVALID', `the import ${jobId} is not there any more`, {
          hint: 'it was deleted while it was watched',
        });
      if (terminal.watched) terminal.redraw(`${barOf(status)} ${progressOf(status)}`);
      else if (status.state !== said && !terminal.json) terminal.remark(status.state);
      said = status.state;
      if (status.state !== 'queued' && status.state !== 'running') return status;
      if (status.state === 'queued' && !wondered && performance.now() - startedAtMs > PATIENCE_MS) {
        wondered = true;
        if (terminal.watched) terminal.redraw('');
        terminal.remark(
          'no worker has taken it yet: does one run, with FILE_STORAGE_PATH set, and is it busy?',
        );
      }
      await delay(LOOK_EVERY_MS, undefined, { signal });
    }
  } catch (error) {
    if (signal.aborted) return 'interrupted';
    throw error;
  } finally {
    if (terminal.watched) terminal.redraw('');
  }
}

/** Says what became of it, and makes an exit code of it. */
export async function endOfImport(terminal: Terminal, pool: Pool, status: ImportStatus): Promise<ExitCode> {
  const faults = await importFaults(pool, status.jobId);
  terminal.result({ ...status, faults }, () =>
    describeImport(terminal, status, faults.slice(0, SHOWN_FAULTS)),
  );
  return status.state === 'completed' && status.counts.failed === 0 ? exitCodes.ok : exitCodes.no;
}

export function describeImport(
  { style }: Terminal,
  status: ImportStatus,
  faults: readonly ImportFault[],
): string {
  const { state, counts, reason, dryRun, wanted, startedAt, endedAt } = status;
  const seconds =
    startedAt === null ? undefined : ((endedAt?.getTime() ?? Date.now()) - startedAt.getTime()) / 1_000;
  const more = counts.failed - faults.length;
  return [
    `${dryRun ? 'trial, nothing written: ' : ''}${style(state === 'failed' ? 'red' : 'bold', state)}${
      wanted === null ? '' : ` (${wanted} asked for)`
    }, ${plural(counts.processed, 'row')}${seconds === undefined ? '' : ` in ${duration(seconds)}`}${
      state === 'running' ? `, ${progressOf(status)}` : ''
    }`,
    ...(reason === null ? [] : [`  ${printable(reason)}`]),
    ...(['created', 'updated', 'unchanged', 'skipped', 'failed'] as const)
      .filter((outcome) => counts[outcome] > 0)
      .map((outcome) => `  ${count(counts[outcome])} ${outcome}`),
    ...faults.map(({ line, reason: why }) => `  line ${line}: ${printable(why)}`),
    ...(more > 0 ? [`  and ${count(more)} more`] : []),
    ...(more > 0 && faults.length === SHOWN_FAULTS
      ? [`  \`pulsebox import status ${status.jobId}\` shows the first hundred`]
      : []),
  ].join('\n');
}

function barOf({ bytesRead, fileBytes, state }: ImportStatus): string {
  const share = state === 'completed' ? 1 : fileBytes === null || fileBytes === 0 ? 0 : bytesRead / fileBytes;
  const width = Math.round(Math.min(1, share) * BAR_WIDTH);
  return `${'█'.repeat(width)}${'░'.repeat(BAR_WIDTH - width)}`;
}

function progressOf(status: ImportStatus): string {
  const { state, counts, fileBytes, bytesRead, rowsPerSecond, secondsLeft, wanted } = status;
  if (state === 'queued') return 'waiting for a worker';
  return [
    wanted === null ? undefined : `${wanted} asked for`,
    plural(counts.processed, 'row'),
    counts.failed === 0 ? undefined : `${count(counts.failed)} failed`,
    fileBytes === null ? undefined : `${bytes(bytesRead)} of ${bytes(fileBytes)}`,
    rowsPerSecond === null ? undefined : `${count(rowsPerSecond)}/s`,
    secondsLeft === null ? undefined : `${duration(secondsLeft)} left`,
  ]
    .filter((part) => part !== undefined)
    .join(', ');
}
