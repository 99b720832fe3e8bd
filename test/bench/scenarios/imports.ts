// A file becomes items: rows a second beside a bare COPY and beside row by row; memory at 10,000 and a million rows.

import { createWriteStream } from 'node:fs';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { appMigrations } from '@pulsebox/app-schema';
import { jobsMigrations } from '@pulsebox/jobs';
import { outboxMigrations } from '@pulsebox/outbox';
import { migrate, postgresMigrations } from '@pulsebox/postgres';
import { query } from '../harness/bench-server.ts';
import { asDeployed } from '../harness/as-deployed.ts';
import { runJob } from '../harness/child.ts';
import { count, mib, ms, perSecond, range, ratio } from '../harness/figures.ts';
import type { Scenario, ScenarioContext, ScenarioReport } from '../harness/scenario.ts';
import { median } from '../harness/statistics.ts';
import type { Delay, ImportFileInput, ImportFileOutput } from '../jobs/import-file.ts';
import type { UpsertRowsInput } from '../jobs/upsert-rows.ts';

const ROWS = 100_000;
/** Row by row takes long; throughput is per row anyway. */
const ROWS_ONE_BY_ONE = 5_000;
const MEMORY_ROWS = [10_000, 1_000_000] as const;
const FILE = 'items.ndjson';

/** Of a bare COPY, which reads no JSON, checks nothing, compares nothing, and emits no event. */
const SHARE_OF_COPY = 0.25;
const TIMES_ONE_BY_ONE = 5;
/** What is left after a collection: chunks, three at a time, whatever the file. Of garbage V8 keeps as much as it likes. */
const MORE_MEMORY_MIB = 8;

const COLUMNS = 'org_id, canonical_id, name, text, data, source, created_at, updated_at, content_hash';

type Contender = 'import' | 'unchanged' | 'copy' | 'one' | 'thousand';

interface Measured {
  readonly contender: Contender;
  readonly perSecond: number;
  readonly output?: ImportFileOutput;
}

const LABELS: Readonly<Record<Contender, string>> = {
  import: 'import: read, checked, compared, written, with events',
  unchanged: 'the same file again: nothing to write',
  copy: 'bare COPY of the same rows into the same table',
  thousand: 'upsert and event row by row, 1,000 rows a transaction',
  one: 'upsert and event row by row, a transaction each',
};

export const imports: Scenario = {
  name: 'imports',
  summary: 'a file of items, beside COPY and beside row-by-row upserts; memory at 10,000 and 1,000,000 rows',
  async run(context): Promise<ScenarioReport> {
    const directory = await mkdtemp(join(tmpdir(), 'pulsebox-bench-imports-'));
    try {
      // PostgreSQL, which may be another user, writes and reads the file of COPY in it.
      await chmod(directory, 0o777);
      return await measureAll(context, directory);
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  },
};

async function measureAll(context: ScenarioContext, directory: string): Promise<ScenarioReport> {
  const rows = Math.round(ROWS * context.scale);
  await writeRows(join(directory, FILE), rows);
  const measured: Measured[] = [];
  for (let repetition = 1; repetition <= context.repeat; repetition += 1)
    measured.push(...(await measureOnce(context, directory, rows)));
  const memory: { rows: number; rssMiB: ImportFileOutput['rssMiB']; retainedMiB: number }[] = [];
  for (const size of MEMORY_ROWS) {
    const scaled = Math.max(MEMORY_ROWS[0], Math.round(size * context.scale));
    context.progress(`memory at ${count(scaled)} rows`);
    await writeRows(join(directory, FILE), scaled);
    const { rssMiB } = await runImport(await freshDatabase(context), directory);
    const { retainedMiB } = await runImport(await freshDatabase(context), directory, true);
    memory.push({ rows: scaled, rssMiB, retainedMiB });
  }
  const speeds = (contender: Contender): number[] =>
    measured.filter((run) => run.contender === contender).map((run) => run.perSecond);
  const speed = (contender: Contender): number => median(speeds(contender));
  const outputs = measured.flatMap(({ contender, output }) =>
    contender === 'import' && output !== undefined ? [output] : [],
  );
  const delayOf = (when: 'idleDelayMs' | 'delayMs', mark: keyof Delay): number =>
    Math.max(0, median(outputs.map((output) => output[when][mark])) - 1);
  const grown = (memory.at(-1)?.retainedMiB ?? Number.NaN) - (memory[0]?.retainedMiB ?? Number.NaN);
  const ofCopy = speed('import') / speed('copy');
  const ofOne = speed('import') / speed('one');
  return {
    title: `Imports: ${count(rows)} rows of NDJSON, 350 bytes each`,
    goals: [
      {
        text: `imports: at least ${ratio(SHARE_OF_COPY)} a bare COPY of the same rows`,
        measured: ratio(ofCopy),
        met: ofCopy >= SHARE_OF_COPY,
      },
      {
        text: `imports: at least ${ratio(TIMES_ONE_BY_ONE)} upserts in a transaction each`,
        measured: ratio(ofOne),
        met: ofOne >= TIMES_ONE_BY_ONE,
      },
      {
        text: `imports: most left after a collection, with ${count(memory.at(-1)?.rows ?? 0)} rows at most ${MORE_MEMORY_MIB} MiB above that with ${count(memory[0]?.rows ?? 0)}`,
        measured: `${grown < 0 ? '' : '+'}${mib(grown)}`,
        met: grown <= MORE_MEMORY_MIB,
      },
    ],
    tables: [
      {
        head: ['', 'the import is', 'rows', 'least - most'],
        rows: (Object.keys(LABELS) as Contender[]).map((contender) => [
          LABELS[contender],
          contender === 'import' ? '-' : ratio(speed('import') / speed(contender)),
          perSecond(speed(contender)),
          range(speeds(contender), perSecond),
        ]),
      },
      {
        head: ['event-loop delay beyond a timer of 1 ms', 'p50', 'p99', 'most'],
        rows: [
          [
            'while importing',
            ms(delayOf('delayMs', 'p50')),
            ms(delayOf('delayMs', 'p99')),
            ms(delayOf('delayMs', 'max')),
          ],
          [
            'for a second before, doing nothing',
            ms(delayOf('idleDelayMs', 'p50')),
            ms(delayOf('idleDelayMs', 'p99')),
            ms(delayOf('idleDelayMs', 'max')),
          ],
        ],
      },
      {
        head: ['memory', 'resident before', 'resident, peak', 'most left after a collection'],
        rows: memory.map(({ rows: size, rssMiB, retainedMiB }) => [
          `${count(size)} rows`,
          mib(rssMiB.before),
          mib(rssMiB.peak),
          mib(retainedMiB),
        ]),
      },
    ],
    notes: [
      'The import is the loop of a worker in a process of its own, from the begin of its run to its end, the look at pg-boss left out; its heap has the bounds of worker in k8s/base. COPY reads rows that lie ready in its own format, hashes included, from a file on the server; it has no events.',
      'All write durably into empty tables with the same indexes.',
    ],
    data: { measured, memory },
  };
}

async function measureOnce(
  context: ScenarioContext,
  directory: string,
  rows: number,
): Promise<readonly Measured[]> {
  const { progress, server, scale } = context;
  const url = await freshDatabase(context);
  const speedOf = (done: number, elapsedMs: number): number => (done / elapsedMs) * 1_000;
  const told = (
    contender: Contender,
    done: number,
    elapsedMs: number,
    output?: ImportFileOutput,
  ): Measured => {
    const speed = speedOf(done, elapsedMs);
    progress(`${LABELS[contender]}: ${perSecond(speed)}`);
    return { contender, perSecond: speed, ...(output === undefined ? {} : { output }) };
  };

  const first = await runImport(url, directory);
  if (first.counts.created !== rows) throw new Error(`${first.counts.created} of ${rows} rows were created`);
  await server.settle(url);
  const second = await runImport(url, directory);
  if (second.counts.unchanged !== rows) throw new Error('a row was not the same as a moment ago');

  const file = join(directory, 'rows.copy').replaceAll("'", "''");
  await query(url, `copy (select ${COLUMNS} from app.items) to '${file}'`);
  const empty = await freshDatabase(context);
  const copyStartedAtMs = performance.now();
  await query(empty, `copy app.items (${COLUMNS}) from '${file}'`);
  const copyMs = performance.now() - copyStartedAtMs;

  const some = Math.round(ROWS_ONE_BY_ONE * scale);
  const byRow = async (many: number, rowsPerTransaction: number): Promise<number> => {
    const input: UpsertRowsInput = {
      url: await freshDatabase(context),
      path: join(directory, FILE),
      rows: many,
      rowsPerTransaction,
    };
    return (await runJob<number>('upsert-rows', input)).output;
  };
  const thousandMs = await byRow(Math.min(rows, some * 4), 1_000);
  const oneMs = await byRow(some, 1);
  return [
    told('import', rows, first.elapsedMs, first),
    told('unchanged', rows, second.elapsedMs, second),
    told('copy', rows, copyMs),
    told('thousand', Math.min(rows, some * 4), thousandMs),
    told('one', some, oneMs),
  ];
}

async function freshDatabase({ server }: ScenarioContext): Promise<string> {
  const url = await server.freshDatabase('bench_imports');
  await migrate({ connectionString: url }, [
    postgresMigrations,
    jobsMigrations,
    outboxMigrations,
    appMigrations,
  ]);
  await server.settle(url);
  return url;
}

async function runImport(url: string, directory: string, collect = false): Promise<ImportFileOutput> {
  const rows = await query<{ job_id: string }>(
    url,
    `insert into app.import_jobs (org_id, file_path) values ('acme', $1) returning job_id`,
    [FILE],
  );
  const input: ImportFileInput = { url, directory, jobId: rows[0]?.job_id ?? '', collect };
  return (await runJob<ImportFileOutput>('import-file', input, asDeployed('worker'))).output;
}

/** Some forty words of text, of a vocabulary of two thousand, and a few fields. */
async function writeRows(path: string, rows: number): Promise<void> {
  function* lines(): Generator<string> {
    for (let n = 0; n < rows; n += 1) {
      const words = Array.from(
        { length: 40 },
        (_, word) => `word${(n * 7_919 + word * word * 104_729) % 2_000}`,
      );
      const item = { name: `Item number ${n}`, text: words.join(' '), colour: 'red', weight: n % 500 };
      yield `${JSON.stringify({ canonical_id: `item-${n}`, item, source: 'bench' })}\n`;
    }
  }
  await pipeline(Readable.from(lines()), createWriteStream(path));
}
