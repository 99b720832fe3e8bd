// npm run demo, beside a running npm start: an application that writes 135,000 cities, each with its event in the same
// transaction, while the worker indexes them; then searches that find them.

import { parseArgs } from 'node:util';
import { createPool } from '@pulsebox/postgres';
import type { Pool } from 'pg';
import { loadCities } from './cities.ts';
import { readRunFile } from './run-file.ts';
import { showSearches } from './demo-searches.ts';
import { progressBar } from './progress-bar.ts';
import { untilIndexed } from './until-indexed.ts';
import { writeCities } from './write-cities.ts';

const HELP = `npm run demo -- [--rows N] [--writers N]

Loads cities beside a running \`npm start\`, waits for the index, and searches.

  --rows N     only the first N cities (default: all 135,233; a minute or two)
  --writers N  connections that write at once (default 4)`;

process.exitCode = await main();

async function main(): Promise<number> {
  const flags = readFlags();
  if (typeof flags === 'number') return flags;
  const databaseUrl = await findDatabase();
  if (databaseUrl === undefined) {
    print('expected a running `npm start` (in another terminal) or DATABASE_URL, found neither');
    return 1;
  }
  const pool = createPool({
    connection: { connectionString: databaseUrl, application_name: 'pulsebox-demo' },
    max: flags.writers + 1,
    onIdleError: () => undefined,
  });
  try {
    return await demonstrate(pool, flags);
  } finally {
    await pool.end();
  }
}

interface Flags {
  readonly rows: number | undefined;
  readonly writers: number;
}

/** A number: the exit code, when there is nothing to be done. */
function readFlags(): Flags | number {
  try {
    const { values } = parseArgs({
      options: {
        rows: { type: 'string' },
        writers: { type: 'string', default: '4' },
        help: { type: 'boolean', short: 'h', default: false },
      },
    });
    if (values.help) {
      print(HELP);
      return 0;
    }
    const rows = values.rows === undefined ? undefined : positiveInteger('--rows', values.rows);
    const writers = positiveInteger('--writers', values.writers);
    if (writers === undefined || (values.rows !== undefined && rows === undefined)) return 2;
    return { rows, writers };
  } catch (error) {
    print(`${error instanceof Error ? error.message : String(error)}\n\n${HELP}`);
    return 2;
  }
}

async function demonstrate(pool: Pool, options: Flags): Promise<number> {
  const cities = loadCities().slice(0, options.rows);
  print(
    `writing ${cities.length.toLocaleString('en')} cities (GeoNames, CC BY 4.0) with ${options.writers} writers`,
  );
  print('each transaction writes rows and their events; one in fifty is rolled back and tried again\n');

  const writing = progressBar('written', cities.length);
  const written = await writeCities(pool, cities, options.writers, (count) => writing.update(count));
  writing.done();
  print(
    `  ${written.transactions.toLocaleString('en')} transactions committed, ${written.rolledBack.toLocaleString('en')} rolled back\n`,
  );

  // It was indexed while it was written: a rate of the little that is left would say nothing.
  const writtenAtMs = performance.now();
  let saidAtMs = writtenAtMs;
  const indexed = await untilIndexed(pool, (lag) => {
    if (performance.now() - saidAtMs < 2_000) return;
    saidAtMs = performance.now();
    print(`  the index is ${lag.toLocaleString('en')} events behind`);
  });
  const behindMs = Math.round(performance.now() - writtenAtMs);
  if (!indexed) {
    print('the index does not move: is the worker running? `npx pulsebox groups` shows who reads');
    return 1;
  }
  print(
    `  the index had all of it ${behindMs.toLocaleString('en')} ms after the last commit: it was filled meanwhile`,
  );
  return await showSearches(pool, cities, print);
}

async function findDatabase(): Promise<string | undefined> {
  const configured = process.env['DATABASE_URL'];
  if (configured !== undefined && configured !== '') return configured;
  const found = await readRunFile();
  return found?.alive === true ? found.run.databaseUrl : undefined;
}

function positiveInteger(flag: string, value: string): number | undefined {
  const number = Number(value);
  if (Number.isInteger(number) && number > 0) return number;
  print(`expected ${flag} to be a positive whole number, got "${value}"`);
  return undefined;
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
