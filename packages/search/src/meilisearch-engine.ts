// Meilisearch as a sink. Its tasks run one after the other in the order in which they were taken, so whatever is sent
// later wins, and a retry of what was sent already does no harm.

import { setTimeout as delay } from 'node:timers/promises';
import type { JsonValue } from '@pulsebox/outbox';
import type { EnqueuedTask, Meilisearch, Settings } from 'meilisearch';
import type { Pool } from 'pg';
import { encodeId } from './document-id.ts';
import { hasSinkCode, meilisearchServer } from './meilisearch-server.ts';
import type { MeilisearchServer } from './meilisearch-server.ts';
import { describeMeilisearch, searchMeilisearch } from './meilisearch-search.ts';
import { ORGANISATION_KEY, organisationKey, sameSettings, settingsOf } from './meilisearch-settings.ts';
import type { Projection, VerifiedProjection } from './projection.ts';
import type { Rebuild, SearchEngine, SyncResult, WriteContext } from './search-engine.ts';
import { readRows } from './view.ts';
import type { ViewRow } from './view.ts';

export interface MeilisearchEngineOptions {
  /** Where rows are read. */
  readonly pool: Pool;
  readonly url: string;
  readonly apiKey?: string | undefined;
  /** The longest one request may take, in milliseconds. Default 5,000. */
  readonly timeoutMs?: number | undefined;
  /** The most documents in one request. Default 500. */
  readonly batchSize?: number | undefined;
}

type Sending = Pick<WriteContext, 'signal' | 'progress'>;

export function meilisearchEngine(options: MeilisearchEngineOptions): SearchEngine {
  const { pool, batchSize = 500 } = options;
  const server = meilisearchServer({ ...options, timeoutMs: options.timeoutMs ?? 5_000 });
  const prepared = new Set<string>();

  async function prepare(projection: Projection, context: Sending): Promise<void> {
    if (prepared.has(projection.name)) return;
    await prepareIndex(server, projection.index, projection, context);
    prepared.add(projection.name);
  }

  async function sync(
    projection: VerifiedProjection,
    index: string,
    ids: readonly string[],
    context: Sending,
  ): Promise<SyncResult> {
    context.signal.throwIfAborted();
    const rows = await readRows(pool, projection, ids);
    const there = new Set(rows.map((row) => row.id));
    const gone = ids.filter((id) => !there.has(id));
    const tasks: EnqueuedTask[] = [];
    for (const part of parts(rows, batchSize)) tasks.push(...(await upsert(server, index, part, context)));
    for (const part of parts(gone, batchSize)) tasks.push(await remove(server, index, part, context));
    // All are sent before the first is awaited: Meilisearch merges what waits in its queue into one run.
    for (const task of tasks) await server.settled(`writing to ${index}`, task, context);
    return { upserted: rows.length, deleted: gone.length };
  }

  return {
    name: 'meilisearch',
    prepare,
    async sync(projection, ids, context): Promise<SyncResult> {
      await prepare(projection, context);
      try {
        return await sync(projection, projection.index, ids, context);
      } catch (error) {
        if (!hasSinkCode(error, 'index_not_found')) throw error;
        // Somebody removed the index: made again with its settings, it fills with what changes from now on.
        prepared.delete(projection.name);
        await prepare(projection, context);
        return await sync(projection, projection.index, ids, context);
      }
    },
    search: (projection, query, signal) => searchMeilisearch(server, projection, query, signal),
    describe: (projections, signal) => describeMeilisearch(server, projections, signal),
    async beginRebuild(projection, context): Promise<Rebuild> {
      const { index } = projection;
      // Swapping takes two indexes.
      await prepare(projection, context);
      await dropShadows(server, index, context);
      // Named after the token: what a rebuild that lost its lease still sends goes to an index that nobody swaps in.
      const shadow = `${shadowPrefix(index)}${context.fence.token}`;
      await prepareIndex(server, shadow, projection, context);
      return {
        sync: (ids, syncContext) => sync(projection, shadow, ids, syncContext),
        swap: (swapContext) =>
          send(server, `swapping ${shadow} in for ${index}`, swapContext, (client) =>
            client.swapIndexes([{ indexes: [index, shadow], rename: false }]),
          ),
        drop: (dropContext) => dropShadows(server, index, dropContext),
      };
    },
  };
}

/** Settings before documents: changed later, they would make Meilisearch index everything again. */
async function prepareIndex(
  server: MeilisearchServer,
  index: string,
  projection: Projection,
  context: Sending,
): Promise<void> {
  const wanted = settingsOf(projection);
  const present = await readSettings(server, index, context.signal);
  if (present === undefined) {
    await send(server, `creating the index ${index}`, context, (client) =>
      client.createIndex(index, { primaryKey: 'id' }),
    ).catch((error: unknown) => {
      // Another worker was quicker.
      if (!hasSinkCode(error, 'index_already_exists')) throw error;
    });
  } else if (sameSettings(present, wanted)) {
    return;
  }
  await send(server, `settings of ${index}`, context, (client) => client.index(index).updateSettings(wanted));
}

async function readSettings(
  server: MeilisearchServer,
  index: string,
  signal: AbortSignal,
): Promise<Settings | undefined> {
  try {
    return await server.request(`settings of ${index}`, signal, (client) =>
      client.index(index).getSettings(),
    );
  } catch (error) {
    if (hasSinkCode(error, 'index_not_found')) return undefined;
    throw error;
  }
}

async function upsert(
  server: MeilisearchServer,
  index: string,
  rows: readonly ViewRow[],
  context: Sending,
): Promise<EnqueuedTask[]> {
  const documents = rows.map(documentOf);
  try {
    return [
      await enqueue(server, `writing ${rows.length} documents to ${index}`, context, (client) =>
        client.index(index).addDocuments(documents, { primaryKey: 'id' }),
      ),
    ];
  } catch (error) {
    // The count of documents is ours to choose, their size is not: halved until they fit, or one alone does not.
    if (!hasSinkCode(error, 'payload_too_large') || rows.length === 1) throw error;
    const middle = Math.ceil(rows.length / 2);
    return [
      ...(await upsert(server, index, rows.slice(0, middle), context)),
      ...(await upsert(server, index, rows.slice(middle), context)),
    ];
  }
}

function documentOf({ id, organisation, document }: ViewRow): Record<string, JsonValue> {
  const key = organisation === null ? {} : { [ORGANISATION_KEY]: organisationKey(organisation) };
  return { ...document, id: encodeId(id), organisation, ...key };
}

async function remove(
  server: MeilisearchServer,
  index: string,
  ids: readonly string[],
  context: Sending,
): Promise<EnqueuedTask> {
  return await enqueue(server, `deleting ${ids.length} documents from ${index}`, context, (client) =>
    client.index(index).deleteDocuments(ids.map(encodeId)),
  );
}

function shadowPrefix(index: string): string {
  return `${index}-rebuild-`;
}

const INDEXES_PER_PAGE = 1_000;

async function dropShadows(server: MeilisearchServer, index: string, context: Sending): Promise<void> {
  const { results } = await server.request('listing indexes', context.signal, (client) =>
    client.getRawIndexes({ limit: INDEXES_PER_PAGE }),
  );
  const prefix = shadowPrefix(index);
  const shadows = results.filter(
    ({ uid }) => uid.startsWith(prefix) && /^\d+$/.test(uid.slice(prefix.length)),
  );
  for (const { uid } of shadows) {
    await send(server, `deleting the index ${uid}`, context, (client) => client.deleteIndex(uid));
  }
}

async function send(
  server: MeilisearchServer,
  doing: string,
  context: Sending,
  request: (client: Meilisearch) => Promise<EnqueuedTask>,
): Promise<void> {
  await server.settled(doing, await enqueue(server, doing, context, request), context);
}

/**
 * Sends a write. Timers run first, and the signal is looked at after them: in a process that was frozen past its lease,
 * the one that ends the lease is due before anything else is sent. Meilisearch knows no fencing token, so this is as
 * close to the write as a check can stand.
 */
async function enqueue(
  server: MeilisearchServer,
  doing: string,
  { signal, progress }: Sending,
  request: (client: Meilisearch) => Promise<EnqueuedTask>,
): Promise<EnqueuedTask> {
  await delay(0);
  const task = await server.request(doing, signal, request);
  progress();
  return task;
}

function parts<T>(whole: readonly T[], size: number): T[][] {
  const cut: T[][] = [];
  for (let start = 0; start < whole.length; start += size) cut.push(whole.slice(start, start + size));
  return cut;
}
