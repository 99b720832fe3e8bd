// pulsebox emit: adds an event to the log, or one for each line of standard input.

import { createInterface } from 'node:readline';
import type { Command } from 'commander';
import { emit, emitAll } from '@pulsebox/outbox';
import type { JsonValue, NewEvent } from '@pulsebox/outbox';
import { transaction } from '@pulsebox/postgres';
import type { PoolClient } from 'pg';
import { CliError } from '../cli-error.ts';
import { withPool } from '../database.ts';
import { exitCodes } from '../exit-code.ts';
import type { ExitCode } from '../exit-code.ts';
import { parsePayload } from '../payload.ts';
import { plural } from '../quantities.ts';
import { announceDatabase } from '../session.ts';
import type { Run, Session } from '../session.ts';

interface EmitOptions {
  readonly key?: string;
  readonly header?: readonly string[];
}

/** How many lines of standard input go into one statement. */
const LINES_AT_ONCE = 1_000;

const EXAMPLES = `
With - in place of JSON, standard input has one payload per line (blank lines are skipped).
They are emitted in one transaction: all of them, or when a line is bad, none.

Examples:
  pulsebox emit item.upserted '{"item_id": "0b7e3c1e-…"}' --key item:0b7e3c1e-…
  pulsebox emit mail.received '{"id": 7}' --header source=import --header by=anna
  jq -c '.[] | {item_id: .id}' items.json | pulsebox emit item.upserted -`;

export function declareEmit(program: Command, run: Run): void {
  program
    .command('emit')
    .summary('add an event to the log')
    .description('Adds an event to the log, in a transaction of its own, and prints its position.')
    .argument('<topic>', 'for instance item.upserted: letters, digits and . _ : -')
    .argument('<json>', 'the payload, or - for one payload per line on standard input')
    .option('--key <key>', 'events of one key are delivered in order, for instance item:42')
    .option(
      '--header <name=value>',
      'a header; may be given several times',
      (header, headers: string[] | undefined) => [...(headers ?? []), header],
    )
    .addHelpText('after', EXAMPLES)
    .action((topic: string, json: string, options: EmitOptions) =>
      run((session) =>
        json === '-' ? emitLines(session, topic, options) : emitOne(session, topic, json, options),
      ),
    );
}

async function emitOne(
  session: Session,
  topic: string,
  json: string,
  options: EmitOptions,
): Promise<ExitCode> {
  const event: NewEvent = { topic, payload: parsePayload(json, 'the payload'), ...addressOf(options) };
  const database = await announceDatabase(session);
  const position = await withPool(database, (pool) => transaction(pool, (client) => emit(client, event)));
  session.terminal.result(
    { topic, key: event.key ?? null, position },
    () => `emitted ${topic}${options.key === undefined ? '' : ` for ${options.key}`} at position ${position}`,
  );
  return exitCodes.ok;
}

async function emitLines(session: Session, topic: string, options: EmitOptions): Promise<ExitCode> {
  const address = addressOf(options);
  if (process.stdin.isTTY) session.terminal.remark('reading one payload per line; Ctrl-D ends');
  const database = await announceDatabase(session);
  const emitted = await withPool(database, (pool) =>
    transaction(pool, (client) => emitStandardInput(client, (payload) => ({ topic, payload, ...address }))),
  );
  session.terminal.result({ topic, key: address.key ?? null, ...emitted }, () =>
    emitted.events === 0
      ? 'emitted nothing: standard input had no lines'
      : `emitted ${plural(emitted.events, 'event')} to ${topic}, from position ${emitted.firstPosition} to ${emitted.lastPosition}`,
  );
  return exitCodes.ok;
}

interface Emitted {
  readonly events: number;
  readonly firstPosition: number | null;
  readonly lastPosition: number | null;
}

async function emitStandardInput(
  client: PoolClient,
  eventOf: (payload: JsonValue) => NewEvent,
): Promise<Emitted> {
  let emitted: Emitted = { events: 0, firstPosition: null, lastPosition: null };
  for await (const events of chunksOfLines(eventOf)) {
    const positions = await emitAll(client, events);
    emitted = {
      events: emitted.events + events.length,
      firstPosition: emitted.firstPosition ?? positions[0] ?? null,
      lastPosition: positions.at(-1) ?? emitted.lastPosition,
    };
  }
  return emitted;
}

async function* chunksOfLines(eventOf: (payload: JsonValue) => NewEvent): AsyncGenerator<NewEvent[]> {
  let events: NewEvent[] = [];
  let number = 0;
  for await (const line of createInterface({ input: process.stdin, crlfDelay: Number.POSITIVE_INFINITY })) {
    number += 1;
    if (line.trim() === '') continue;
    events.push(eventOf(parsePayload(line, `line ${number} of standard input`)));
    if (events.length < LINES_AT_ONCE) continue;
    yield events;
    events = [];
  }
  if (events.length > 0) yield events;
}

function addressOf({ key, header = [] }: EmitOptions): Pick<NewEvent, 'key' | 'headers'> {
  const headers: Record<string, string> = {};
  for (const pair of header) {
    const [, name, value] = /^([^=]+)=(.*)$/s.exec(pair) ?? [];
    if (name === undefined || value === undefined || Object.hasOwn(headers, name)) {
      const got = name === undefined ? `"${pair}"` : `"${name}" twice`;
      throw new CliError(
        'CLI_USAGE_INVALID',
        `expected --header to be name=value, each name once, got ${got}`,
        {
          hint: 'for instance --header source=import --header by=anna',
        },
      );
    }
    Object.defineProperty(headers, name, { value, enumerable: true });
  }
  return { ...(key === undefined ? {} : { key }), headers };
}
