// pulsebox dead show: one event that could not be delivered, with every error of its history.

import type { Command } from 'commander';
import { parseDeadId, showDead } from '@pulsebox/outbox';
import type { DeadDetails } from '@pulsebox/outbox';
import { withPool } from '../database.ts';
import { exitCodes } from '../exit-code.ts';
import type { ExitCode } from '../exit-code.ts';
import { parsePayload } from '../payload.ts';
import { count, plural } from '../quantities.ts';
import { announceDatabase } from '../session.ts';
import type { Run, Session } from '../session.ts';
import { printable } from '../terminal.ts';
import type { Terminal } from '../terminal.ts';

const HELP = `
Examples:
  pulsebox dead show search/1042
  pulsebox dead show search/1042 --json | jq .payload`;

export function declareShow(dead: Command, run: Run): void {
  dead
    .command('show')
    .summary('show one of them with its payload and every error')
    .description('Shows a parked event or dead letter: payload, headers, and every error of its history.')
    .argument('<id>', 'group and position, such as search/1042')
    .addHelpText('after', HELP)
    .action((id: string) => run((session) => show(session, id)));
}

async function show(session: Session, text: string): Promise<ExitCode> {
  const id = parseDeadId(text);
  const database = await announceDatabase(session);
  const { payloadJson, ...details } = await withPool(database, (pool) => showDead(pool, id));
  const payload = parsePayload(payloadJson, 'the payload');
  session.terminal.result({ ...details, payload }, () =>
    render(details, JSON.stringify(payload, null, 2), session.terminal.style),
  );
  return exitCodes.ok;
}

function render(
  details: Omit<DeadDetails, 'payloadJson'>,
  payload: string,
  style: Terminal['style'],
): string {
  const { headers, errors } = details;
  const facts: readonly (readonly [string, string])[] = [
    ['topic', details.topic],
    ['key', details.key === null ? '-' : printable(details.key)],
    ['state', describeState(details, style)],
    ['attempts', count(details.attempts)],
    ['written', details.createdAt],
    ['parked', details.parkedAt],
    ['failed', details.failedAt ?? 'never'],
    ['waiting', `${plural(details.waiting, 'event')} of its key behind it`],
  ];
  const width = Math.max(...facts.map(([name]) => name.length));
  return [
    style('bold', details.id),
    ...facts.map(([name, value]) => `  ${name.padEnd(width)}  ${value}`),
    '',
    style('bold', 'Payload'),
    lines(payload),
    ...(Object.keys(headers).length === 0
      ? []
      : ['', style('bold', 'Headers'), lines(JSON.stringify(headers, null, 2))]),
    '',
    style('bold', 'Errors'),
    ...(errors.length === 0 ? ['  none: it waits behind another of its key'] : []),
    ...errors.map(({ at, attempt, reason, retryable }) => {
      const final = retryable ? '' : `, ${style('red', 'would fail again')}`;
      return `  ${at}  attempt ${count(attempt)}${final}\n${lines(reason, '    ')}`;
    }),
  ].join('\n');
}

function describeState(
  { state, nextAttemptAt, attemptingSince }: Omit<DeadDetails, 'payloadJson'>,
  style: Terminal['style'],
): string {
  if (state === 'dead') return style('red', 'dead: it waits for a replay or a discard');
  if (attemptingSince !== null) return `parked, being tried since ${attemptingSince}`;
  return style(
    'yellow',
    nextAttemptAt === null
      ? 'parked, waiting behind another of its key'
      : `parked, tried next at ${nextAttemptAt}`,
  );
}

/** Each line made safe to show. */
function lines(text: string, indent = '  '): string {
  return text
    .split('\n')
    .map((line) => indent + printable(line))
    .join('\n');
}
