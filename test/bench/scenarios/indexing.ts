// How fast items reach a search index, and what batches bring against one request, or one transaction, per event.

import { appMigrations } from '@pulsebox/app-schema';
import { gmailMigrations } from '@pulsebox/gmail';
import { jobsMigrations } from '@pulsebox/jobs';
import { outboxMigrations } from '@pulsebox/outbox';
import { migrate, postgresMigrations } from '@pulsebox/postgres';
import { searchMigrations } from '@pulsebox/search';
import { freePort } from '@pulsebox/test-support';
import { count, perSecond, range, ratio } from '../harness/figures.ts';
import { query } from '../harness/bench-server.ts';
import { runJob, startJob } from '../harness/child.ts';
import type { Scenario, ScenarioContext, ScenarioReport } from '../harness/scenario.ts';
import { median } from '../harness/statistics.ts';
import type { IndexItemsInput } from '../jobs/index-items.ts';
import type { MeilisearchInput } from '../jobs/meilisearch.ts';

const ITEMS = 20_000;
/** One at a time takes long; throughput is per event anyway. */
const ITEMS_ONE_BY_ONE = 500;
const BATCH_SIZE = 500;
const TASK_MS = 5;

const sinks = [
  { name: 'meilisearch', label: 'Meilisearch stand-in' },
  { name: 'postgres', label: 'PostgreSQL full-text search' },
] as const;

/** Result: none. $1 how many. Some forty words of text, of a vocabulary of two thousand. */
const FILL_ITEMS = `
  with item as (
    insert into app.items (org_id, canonical_id, name, text, data)
    select 'org-' || i % 20, 'item-' || i, 'Item number ' || i,
           (select string_agg('word' || (i * 7919 + w * w * 104729) % 2000, ' ') from generate_series(1, 40) w),
           jsonb_build_object('colour', (array['red', 'green', 'blue'])[1 + i % 3], 'weight', i % 500)
    from generate_series(1, $1::int) i
    returning item_id, org_id
  )
  insert into outbox.event (topic, key, payload)
  select 'item.upserted', 'item:' || item_id, jsonb_build_object('item_id', item_id, 'org_id', org_id) from item`;

interface Measured {
  readonly sink: (typeof sinks)[number]['name'];
  readonly batchSize: number;
  readonly events: number;
  readonly eventsPerSecond: number;
}

export const indexing: Scenario = {
  name: 'indexing',
  summary: 'items into the Meilisearch stand-in and into full-text search, in batches and one by one',
  async run(context): Promise<ScenarioReport> {
    const measured: Measured[] = [];
    for (let repetition = 1; repetition <= context.repeat; repetition += 1) {
      for (const { name } of sinks) {
        measured.push(await measure(context, name, BATCH_SIZE, Math.round(ITEMS * context.scale)));
        measured.push(
          await measure(context, name, 1, Math.max(100, Math.round(ITEMS_ONE_BY_ONE * context.scale))),
        );
      }
    }
    const speeds = (sink: string, batchSize: number): number[] =>
      measured
        .filter((run) => run.sink === sink && run.batchSize === batchSize)
        .map((run) => run.eventsPerSecond);
    const speed = (sink: string, batchSize: number): number => median(speeds(sink, batchSize));
    return {
      title: `Indexing: ${count(ITEMS * context.scale)} items, batches of ${BATCH_SIZE}`,
      goals: [],
      tables: [
        {
          head: ['sink', 'batches are', 'in batches', 'least - most', 'one by one', 'least - most'],
          rows: sinks.map(({ name, label }) => [
            label,
            ratio(speed(name, BATCH_SIZE) / speed(name, 1)),
            perSecond(speed(name, BATCH_SIZE)),
            range(speeds(name, BATCH_SIZE), perSecond),
            perSecond(speed(name, 1)),
            range(speeds(name, 1), perSecond),
          ]),
        },
      ],
      notes: [
        `The shipped search handler in a real worker: rows read at send time, tasks awaited and checked, cursor stored. One by one is the same handler with batches of one: one request (one transaction) and one cursor for each event. The stand-in takes ${TASK_MS} ms a task, whatever is in it, and indexes nothing for real: a real Meilisearch is slower per document, which narrows the ratio.`,
      ],
      data: measured,
    };
  },
};

async function measure(
  { server, progress }: ScenarioContext,
  sink: Measured['sink'],
  batchSize: number,
  events: number,
): Promise<Measured> {
  const url = await server.freshDatabase('bench_indexing');
  await migrate({ connectionString: url }, [
    postgresMigrations,
    jobsMigrations,
    outboxMigrations,
    appMigrations,
    gmailMigrations,
    searchMigrations,
  ]);
  await query(url, FILL_ITEMS, [events]);
  await server.settle(url);

  const port = await freePort();
  const standInInput: MeilisearchInput = { port, taskMs: TASK_MS };
  const standIn = sink === 'meilisearch' ? startJob<undefined>('meilisearch', standInInput) : undefined;
  await standIn?.ready;
  const input: IndexItemsInput = {
    url,
    group: 'search',
    events,
    batchSize,
    meilisearchUrl: standIn === undefined ? undefined : `http://127.0.0.1:${port}`,
  };
  const { output: elapsedMs } = await runJob<number>('index-items', input);
  await standIn?.stop();
  const eventsPerSecond = (events / elapsedMs) * 1_000;
  progress(`${sink}, batches of ${batchSize}: ${perSecond(eventsPerSecond)}`);
  return { sink, batchSize, events, eventsPerSecond };
}
