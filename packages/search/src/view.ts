// The view of a projection: whether it is there with the right columns, and the rows it yields.

import type { JsonValue } from '@pulsebox/outbox';
import type { Queryable } from '@pulsebox/postgres';
import pg from 'pg';
import type { IdType, Projection, VerifiedProjection } from './projection.ts';
import { SearchError } from './search-error.ts';

/** A row of a view, as both sinks store it. */
export interface ViewRow {
  readonly id: string;
  readonly organisation: string | null;
  readonly document: Readonly<Record<string, JsonValue>>;
}

/**
 * Result: one row per column. $1 schema, $2 view. Indexes: those of the catalogue.
 * 0 rows: there is no such view or table, or this role may not use its schema.
 */
const VIEW_COLUMNS = `
  select a.attname as name, a.atttypid::regtype::text as type,
         has_table_privilege(c.oid, 'select') as readable
  from pg_namespace n
  join pg_class c on c.relnamespace = n.oid and c.relkind in ('v', 'm', 'r', 'p', 'f')
  join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
  where n.nspname = $1 and c.relname = $2 and has_schema_privilege(n.oid, 'usage')`;

const ID_TYPES: Readonly<Record<string, IdType>> = {
  uuid: 'uuid',
  text: 'text',
  'character varying': 'text',
  bigint: 'bigint',
  integer: 'integer',
  smallint: 'integer',
};

const COLUMNS: Readonly<Record<string, { readonly types: readonly string[]; readonly words: string }>> = {
  id: { types: Object.keys(ID_TYPES), words: 'uuid, text, bigint or integer' },
  organisation: {
    types: ['text', 'character varying', 'uuid', 'bigint', 'integer'],
    words: 'text, uuid, bigint or integer',
  },
  document: { types: ['jsonb', 'json'], words: 'jsonb' },
  deleted: { types: ['boolean'], words: 'boolean' },
};

/**
 * Finds the view of every projection in the database.
 *
 * @throws SEARCH_PROJECTION_INVALID with every fault of every projection
 */
export async function verifyProjections(
  db: Queryable,
  projections: readonly Projection[],
): Promise<VerifiedProjection[]> {
  const verified: VerifiedProjection[] = [];
  const faults: string[] = [];
  for (const projection of projections) {
    const { schema, name } = viewIdentifier(projection.view);
    const { rows } = await db.query<Column>(VIEW_COLUMNS, [schema, name]);
    const idType = ID_TYPES[rows.find((column) => column.name === 'id')?.type ?? ''];
    const found = faultsOf(projection, rows);
    faults.push(...found);
    if (idType !== undefined && found.length === 0) verified.push({ ...projection, idType });
  }
  if (faults.length === 0) return verified;
  throw new SearchError('SEARCH_PROJECTION_INVALID', faults.join('; '), {
    hint: 'a projection reads from a view with the columns id, organisation, document and deleted; docs/projections.md shows one',
  });
}

interface Column {
  readonly name: string;
  readonly type: string;
  readonly readable: boolean;
}

function faultsOf({ name, view }: Projection, columns: readonly Column[]): string[] {
  const [first] = columns;
  if (first === undefined) return [`projection ${name}: expected a view ${view}, found none`];
  if (!first.readable)
    return [`projection ${name}: expected to read ${view}, but this role may not select from it`];
  return Object.entries(COLUMNS).flatMap(([column, { types, words }]) => {
    const type = columns.find((candidate) => candidate.name === column)?.type;
    if (type === undefined)
      return [`projection ${name}: expected ${view} to have a column ${column} (${words})`];
    return types.includes(type)
      ? []
      : [`projection ${name}: expected ${view}.${column} to be ${words}, got ${type}`];
  });
}

const VIEW = /^([a-z_][a-z0-9_$]{0,62})\.([a-z_][a-z0-9_$]{0,62})$/;

/** Whether it reads `schema.view` in lower case, as PostgreSQL folds names that nobody quoted. */
export function isViewName(view: string): boolean {
  return VIEW.test(view);
}

function viewIdentifier(view: string): { schema: string; name: string } {
  const [, schema, name] = VIEW.exec(view) ?? [];
  if (schema !== undefined && name !== undefined) return { schema, name };
  throw new SearchError(
    'SEARCH_PROJECTION_INVALID',
    `expected a view such as "public.note_documents", got ${JSON.stringify(view)}`,
    {
      hint: 'name the schema and the view, in lower case, with a dot between them',
    },
  );
}

/**
 * The view's name for SQL text. Names of relations cannot be parameters, so this is the one thing here that is put
 * into a statement: only after it matched a pattern that has no quotes, and quoted all the same, as `user` is a fine
 * name for a view and a word of SQL.
 */
function quotedView(view: string): string {
  const { schema, name } = viewIdentifier(view);
  return `${pg.escapeIdentifier(schema)}.${pg.escapeIdentifier(name)}`;
}

/**
 * Rows of the view that are not marked as deleted: id, organisation, document. $1 ids.
 * Index: that of the table's key under the view, where `id` is the column itself and no expression.
 * An id that the view yields twice is taken once; what the document has under our own names gives way to them.
 */
export function selectRows({ view, idType }: VerifiedProjection): string {
  return `
    select distinct on (v.id) v.id::text as id, v.organisation::text as organisation,
           case when jsonb_typeof(v.document::jsonb) = 'object'
                then v.document::jsonb - '{id,organisation,organisation_key}'::text[] else '{}' end as document
    from ${quotedView(view)} v
    where v.id = any($1::${idType}[]) and v.deleted is not true`;
}

/**
 * The same, with `before`: the size in bytes of the documents before this one, in the order of their ids. As the
 * documents were just made they are not compressed, so this is about what they are as text.
 */
export function selectSizedRows(projection: VerifiedProjection): string {
  return `
    select r.id, r.organisation, r.document,
           sum(pg_column_size(r.document)) over (order by r.id) - pg_column_size(r.document) as before
    from (${selectRows(projection)}
    ) r`;
}

/**
 * $1 ids, $2 bytes, $3 the most bytes of one document. A document is null when those before it are as large as $2, or it is
 * itself larger than $3. Measured as the text that is sent, and made text once (`offset 0` keeps it from being written into
 * each of its uses): a number like 1e131071 is a dozen bytes of jsonb and 131,072 of text.
 */
function selectRowsWithin(projection: VerifiedProjection): string {
  return `
    select s.id, s.organisation, s.bytes > $3 as "tooLarge",
           case when s.before < $2 and s.bytes <= $3 then s.document end as document
    from (
      select t.id, t.organisation, t.document, t.bytes, sum(t.bytes) over (order by t.id) - t.bytes as before
      from (
        select w.id, w.organisation, w.document, octet_length(w.document) as bytes
        from (select r.id, r.organisation, r.document::text as document
              from (${selectRows(projection)}
              ) r offset 0) w
      ) t
    ) s`;
}

/** Ids in order. $1 how many. 0 rows: the view is empty. */
function firstIds({ view }: VerifiedProjection): string {
  return `select v.id::text as id from ${quotedView(view)} v where v.deleted is not true order by v.id limit $1`;
}

/** Ids in order. $1 how many, $2 the id that they come after. Index: as above. 0 rows: that was the last. */
function idsAfter({ view, idType }: VerifiedProjection): string {
  return `
    select v.id::text as id from ${quotedView(view)} v
    where v.id > $2::${idType} and v.deleted is not true order by v.id limit $1`;
}

/** What one look at the view has yielded. Ids in neither list have no row, or one that is marked as deleted. */
export interface RowsRead {
  readonly rows: readonly ViewRow[];
  /** Ids whose documents would have been more than was asked for. */
  readonly left: readonly string[];
  /** Ids whose documents are larger by themselves than any may be. */
  readonly tooLarge: readonly string[];
}

/** As text. More than Meilisearch takes by default, and a fifth of what a string can hold. */
const LARGEST_DOCUMENT_BYTES = 100_000_000;

/** @param most bytes of documents after which no further one is sent */
export async function readRows(
  db: Queryable,
  projection: VerifiedProjection,
  ids: readonly string[],
  most: number,
): Promise<RowsRead> {
  const { rows } = await db.query<Omit<ViewRow, 'document'> & { document: string | null; tooLarge: boolean }>(
    selectRowsWithin(projection),
    [ids, most, LARGEST_DOCUMENT_BYTES],
  );
  return {
    rows: rows.flatMap(({ id, organisation, document }) =>
      document === null ? [] : [{ id, organisation, document: JSON.parse(document) as ViewRow['document'] }],
    ),
    left: rows.flatMap(({ id, document, tooLarge }) => (document === null && !tooLarge ? [id] : [])),
    tooLarge: rows.flatMap(({ id, tooLarge }) => (tooLarge ? [id] : [])),
  };
}

/** A page of ids of rows that are not marked as deleted, in the order of the column. Fewer than asked for: the last. */
export async function readIds(
  db: Queryable,
  projection: VerifiedProjection,
  page: { readonly after: string | undefined; readonly limit: number },
): Promise<string[]> {
  const { rows } =
    page.after === undefined
      ? await db.query<{ id: string }>(firstIds(projection), [page.limit])
      : await db.query<{ id: string }>(idsAfter(projection), [page.limit, page.after]);
  return rows.map((row) => row.id);
}
