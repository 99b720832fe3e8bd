// Meilisearch as a sink. Its tasks run one after the other in the order in which they were taken, so whatever is sent
// later wins, and a retry of what was sent already does no harm.

import { setTimeout as delay } from 'node:timers/promises';
import type { JsonValue } from '@pulsebox/outbox';
import type { EnqueuedTask, Meilisearch, Settings } from 'meilisearch';
import type { Pool } from 'pg';
import { boundedStatements } from './bounded-statements.ts';
import { encodeId } from './document-id.ts';
import { inParts } from './in-parts.ts';
import { notMeilisearchs } from './meilisearch-fault.ts';
import { hasSinkCode, meilisearchServer } from './meilisearch-server.ts';
import type { MeilisearchServer } from './meilisearch-server.ts';
import { describeMeilisearch, searchMeilisearch } from './meilisearch-search.ts';
import { ORGANISATION_KEY, organisationKey, sameSettings, settingsOf } from './meilisearch-settings.ts';
import { createPace } from './pace.ts';
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

/** Of documents in one request, and of rows in one look at the view. Meilisearch refuses more than 100 MB by default. */
const MOST_BYTES = 50_000_000;

type Document = Readonly<Record<string, JsonValue>>;
type Sending = Pick<WriteContext, 'signal' | 'progress'>;

export function meilisearchEngine(options: MeilisearchEngineOptions): SearchEngine {
  const { pool, batchSize = 500 } = options;
  const server = meilisearchServer({ ...options, timeoutMs: options.timeoutMs ?? 5_000 });
  const prepared = new Set<string>();
  // What is read at once is sent at once.
  const pace = createPace(batchSize);

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
    const db = boundedStatements(pool, context);
    const counts = { upserted: 0, deleted: 0 };
    const tasks: EnqueuedTask[] = [];
    const tooLarge: string[] = [];
    const tooSlow = await inParts(ids, pace, context, async (part) => {
      const startedAtMs = performance.now();
      const { rows, left, tooLarge: larger } = await readRows(db, projection, part, MOST_BYTES);
      const databaseMs = performance.now() - startedAtMs;
      tooLarge.push(...larger);
      const there = new Set([...rows.map((row) => row.id), ...left, ...larger]);
      const gone = part.filter((id) => !there.has(id));
      const documents = rows.map(documentOf);
      for (const some of requestsOf(documents)) tasks.push(...(await upsert(server, index, some, context)));
      if (gone.length > 0) tasks.push(await remove(server, index, gone, context));
      counts.upserted += rows.length;
      counts.deleted += gone.length;
      return { left, databaseMs };
    });
    // All are sent before the first is awaited: Meilisearch merges what waits in its queue into one run.
    for (const task of tasks) await server.settled(`writing to ${index}`, task, context);
    return { ...counts, tooSlow: [...tooSlow, ...tooLarge] };
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
  documents: readonly Document[],
  context: Sending,
): Promise<EnqueuedTask[]> {
  try {
    return [
      await enqueue(server, `writing ${documents.length} documents to ${index}`, context, (client) =>
        client.index(index).addDocuments([...documents], { primaryKey: 'id' }),
      ),
    ];
  } catch (error) {
    // Its limit is a setting of the server, and of proxies before it: halved until they fit, or one alone does not.
    if (!hasSinkCode(error, 'payload_too_large') || documents.length === 1) throw error;
    const middle = Math.ceil(documents.length / 2);
    return [
      ...(await upsert(server, index, documents.slice(0, middle), context)),
      ...(await upsert(server, index, documents.slice(middle), context)),
    ];
  }
}

function documentOf({ id, organisation, document }: ViewRow): Document {
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
  // Asked for a task of no number, Meilisearch would refuse that as if the documents were at fault.
  if (typeof (task as Partial<EnqueuedTask>).taskUid !== 'number') throw notMeilisearchs(doing, task);
  progress();
  return task;
}

/** Documents as requests of at most so many bytes; one that is larger by itself goes alone. */
export function requestsOf(documents: readonly Document[], mostBytes: number = MOST_BYTES): Document[][] {
  const requests: Document[][] = [];
  let room = 0;
  for (const document of documents) {
    const bytes = Buffer.byteLength(JSON.stringify(document)) + 1;
    const last = requests.at(-1);
    if (last === undefined || bytes > room) {
      requests.push([document]);
      room = mostBytes - bytes;
    } else {
      last.push(document);
      room -= bytes;
    }
  }
  return requests;
}
