// What the stand-in for Meilisearch answers to each of the requests that Pulsebox makes of it.

import { addDocuments, emptyIndex, searchIndex } from './meilisearch-index.ts';
import type {
  StandInDocument,
  StandInFault,
  StandInIndex,
  StandInSearch,
  StandInSettings,
} from './meilisearch-index.ts';
import { asError } from './meilisearch-tasks.ts';
import type { StandInTask } from './meilisearch-tasks.ts';

export interface Answer {
  readonly status: number;
  readonly body?: unknown;
}

export interface Asked {
  readonly method: string;
  readonly url: URL;
  readonly body: unknown;
  readonly indexes: Map<string, StandInIndex>;
  readonly tasks: readonly StandInTask[];
  readonly enqueue: (type: string, indexUid: string | null, work: () => StandInFault | undefined) => Answer;
}

type Route = (asked: Asked, uid: string, rest: string) => Answer;

const ROUTES: readonly (readonly [method: string, path: RegExp, route: Route])[] = [
  ['GET', /^\/health$/, () => ({ status: 200, body: { status: 'available' } })],
  [
    'GET',
    /^\/version$/,
    () => ({ status: 200, body: { pkgVersion: '1.37.0', commitSha: '', commitDate: '' } }),
  ],
  ['GET', /^\/tasks\/(\d+)$/, getTask],
  ['POST', /^\/swap-indexes$/, swapIndexes],
  ['GET', /^\/indexes$/, listIndexes],
  ['POST', /^\/indexes$/, createIndex],
  ['DELETE', /^\/indexes\/([^/]+)$/, deleteIndex],
  ['GET', /^\/indexes\/([^/]+)\/settings$/, present(({ settings }) => settings)],
  ['PATCH', /^\/indexes\/([^/]+)\/settings$/, updateSettings],
  ['GET', /^\/indexes\/([^/]+)\/stats$/, present(({ documents }) => ({ numberOfDocuments: documents.size }))],
  ['POST', /^\/indexes\/([^/]+)\/documents$/, postDocuments],
  ['POST', /^\/indexes\/([^/]+)\/documents\/delete-batch$/, deleteBatch],
  ['GET', /^\/indexes\/([^/]+)\/documents\/([^/]+)$/, getDocument],
  ['POST', /^\/indexes\/([^/]+)\/search$/, search],
];

export function answer(asked: Asked): Answer {
  for (const [method, path, route] of ROUTES) {
    const [matched, uid = '', rest = ''] = path.exec(asked.url.pathname) ?? [];
    if (matched !== undefined && method === asked.method) return route(asked, uid, rest);
  }
  throw new Error(`the stand-in does not know ${asked.method} ${asked.url.pathname}`);
}

export function refusal(
  status: number,
  code: string,
  message: string,
  type: StandInFault['type'] = 'invalid_request',
): Answer {
  return { status, body: asError({ code, message, type }) };
}

const INDEX_UID = /^[A-Za-z0-9_-]{1,400}$/;

function getTask({ tasks }: Asked, uid: string): Answer {
  const task = tasks[Number(uid)];
  return task === undefined
    ? refusal(404, 'task_not_found', `Task \`${uid}\` not found.`)
    : { status: 200, body: task };
}

function listIndexes({ indexes, url }: Asked): Answer {
  const offset = Number(url.searchParams.get('offset') ?? 0);
  const limit = Number(url.searchParams.get('limit') ?? 20);
  const results = [...indexes].map(([uid, { primaryKey }]) => ({ uid, primaryKey }));
  return {
    status: 200,
    body: { results: results.slice(offset, offset + limit), offset, limit, total: results.length },
  };
}

function createIndex({ body, indexes, enqueue }: Asked): Answer {
  const { uid, primaryKey = null } = body as { uid: string; primaryKey?: string };
  if (!INDEX_UID.test(uid)) return refusal(400, 'invalid_index_uid', `\`${uid}\` is not a valid index uid.`);
  return enqueue('indexCreation', uid, () => {
    if (indexes.has(uid)) return fault('index_already_exists', `Index \`${uid}\` already exists.`);
    indexes.set(uid, emptyIndex(primaryKey));
    return undefined;
  });
}

function deleteIndex({ indexes, enqueue }: Asked, uid: string): Answer {
  return enqueue('indexDeletion', uid, () => (indexes.delete(uid) ? undefined : notFound(uid)));
}

/** Makes the index if there is none. */
function updateSettings({ body, indexes, enqueue }: Asked, uid: string): Answer {
  return enqueue('settingsUpdate', uid, () => {
    const index = madeIndex(indexes, uid);
    const wanted = { ...index.settings, ...(body as Partial<StandInSettings>) };
    // Sets come back sorted.
    const { filterableAttributes, sortableAttributes } = wanted;
    index.settings = {
      ...wanted,
      filterableAttributes: filterableAttributes.toSorted(),
      sortableAttributes: sortableAttributes.toSorted(),
    };
    return undefined;
  });
}

/** Makes the index if there is none, with the settings that every index has at first. */
function postDocuments({ body, indexes, enqueue }: Asked, uid: string): Answer {
  return enqueue('documentAdditionOrUpdate', uid, () =>
    addDocuments(madeIndex(indexes, uid), body as readonly StandInDocument[]),
  );
}

function deleteBatch({ body, indexes, enqueue }: Asked, uid: string): Answer {
  return enqueue('documentDeletion', uid, () => {
    const index = indexes.get(uid);
    if (index === undefined) return notFound(uid);
    for (const id of body as readonly string[]) index.documents.delete(id);
    return undefined;
  });
}

function getDocument({ indexes }: Asked, uid: string, id: string): Answer {
  const document = indexes.get(uid)?.documents.get(id);
  return document === undefined
    ? refusal(404, 'document_not_found', `Document \`${id}\` not found.`)
    : { status: 200, body: document };
}

function search({ body, indexes }: Asked, uid: string): Answer {
  const index = indexes.get(uid);
  if (index === undefined) return { status: 404, body: asError(notFound(uid)) };
  const found = searchIndex(index, body as StandInSearch);
  return 'code' in found ? { status: 400, body: asError(found) } : { status: 200, body: found };
}

/** All of them or none, in one step. */
function swapIndexes({ body, indexes, enqueue }: Asked): Answer {
  const swaps = body as readonly { readonly indexes: readonly [string, string] }[];
  return enqueue('indexSwap', null, () => {
    const missing = swaps.flatMap((swap) => swap.indexes).find((uid) => !indexes.has(uid));
    if (missing !== undefined) return notFound(missing);
    for (const { indexes: pair } of swaps) {
      const [one, other] = pair.map((uid) => indexes.get(uid));
      if (one === undefined || other === undefined) continue;
      indexes.set(pair[0], other).set(pair[1], one);
    }
    return undefined;
  });
}

function present(describe: (index: StandInIndex) => unknown): Route {
  return ({ indexes }, uid) => {
    const index = indexes.get(uid);
    return index === undefined
      ? { status: 404, body: asError(notFound(uid)) }
      : { status: 200, body: describe(index) };
  };
}

function madeIndex(indexes: Map<string, StandInIndex>, uid: string): StandInIndex {
  const index = indexes.get(uid) ?? emptyIndex('id');
  indexes.set(uid, index);
  return index;
}

function notFound(uid: string): StandInFault {
  return fault('index_not_found', `Index \`${uid}\` not found.`);
}

function fault(code: string, message: string): StandInFault {
  return { code, message, type: 'invalid_request' };
}
