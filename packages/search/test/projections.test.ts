// Projections of the application's own: what a file may say, what the database must have, and the page that explains it.

import { readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  createSearch,
  loadProjections,
  parseProjections,
  shippedProjections,
  verifyProjections,
} from '@pulsebox/search';
import type { Projection } from '@pulsebox/search';
import { createTestDatabase, eventually, startMeilisearchStandIn } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { runRelay } from './running-relay.ts';

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase(inject('serverUrl'));
});
afterAll(async () => {
  await database.drop();
});

const note = {
  name: 'notes',
  view: 'public.note_documents',
  topics: ['note.saved'],
  id: 'note_id',
  searchable: ['title'],
};

async function faultOf(work: () => unknown): Promise<string> {
  try {
    await work();
  } catch (error) {
    expect(error).toMatchObject({ name: 'SearchError', code: 'SEARCH_PROJECTION_INVALID' });
    return error instanceof Error ? error.message : '';
  }
  throw new Error('expected a fault');
}

const parse = (declared: unknown): Projection[] => parseProjections(declared, { source: 'notes.json' });

describe('docs/projections.md', () => {
  test.each(['postgres', 'meilisearch'] as const)(
    'makes a stranger’s table searchable on %s',
    async (engine) => {
      const docs = await readFile(new URL('../../../docs/projections.md', import.meta.url), 'utf8');
      const block = (start: string): string => {
        const [, body] = new RegExp(`\`\`\`\\w+\\n(${start}[^]*?)\n\`\`\``).exec(docs) ?? [];
        if (body === undefined) throw new Error(`docs/projections.md has no block that starts with ${start}`);
        return body;
      };
      const declaration = block('\\[');
      expect(declaration.split('\n')).toHaveLength(10);
      const file = join(tmpdir(), `pulsebox-projections-${process.pid}-${engine}.json`);
      await writeFile(file, declaration);
      const strange = await createTestDatabase(inject('serverUrl'));
      const standIn = await startMeilisearchStandIn();
      const { pool } = strange;
      await pool.query(block('-- your table'));
      await pool.query(
        `insert into public.notes (team, title) values ('red', 'there before, without an event')`,
      );
      await pool.query(block('-- the view'));
      const shipped = shippedProjections();
      const search = createSearch({
        pool,
        projections: [...shipped, ...(await loadProjections(file, shipped))],
        meilisearch: engine === 'meilisearch' ? { url: standIn.url } : undefined,
      });
      await search.verify();
      const relay = runRelay(pool, search.handler);

      await pool.query(block('-- a write'));
      const found = await eventually(async () => {
        const { hits } = await search.search('notes', {
          query: 'hohe tur',
          organisation: 'red',
          filter: { colour: 'blue' },
        });
        return hits[0];
      });
      expect(found).toEqual({
        id: expect.any(String),
        organisation: 'red',
        document: { title: 'Höhe der Türen', body: 'Measure them all.', colour: 'blue' },
      });
      expect(await search.search('notes', { query: 'hohe tur', organisation: 'green' })).toEqual({
        hits: [],
        total: 0,
      });

      expect((await search.search('notes', { query: 'before' })).total).toBe(0);
      await search.reindex('notes', { holder: 'test' });
      expect((await search.search('notes', { query: 'before' })).total).toBe(1);

      await pool.query(`
      with trashed as (update public.notes set trashed = true where colour = 'blue' returning note_id)
      select outbox.emit('note.trashed', jsonb_build_object('note_id', note_id)) from trashed`);
      await eventually(async () => (await search.search('notes', { query: 'hohe' })).total === 0);

      await relay.stop();
      expect(relay.errors).toEqual([]);
      await standIn.close();
      await strange.drop();
      await rm(file);
    },
  );
});

describe('a file of projections', () => {
  test('has the name as its index, and nothing filterable or sortable, unless it says so', () => {
    expect(parse([note])).toEqual([
      {
        name: 'notes',
        index: 'notes',
        view: 'public.note_documents',
        topics: ['note.saved'],
        idPath: 'note_id',
        settings: { searchable: ['title'], filterable: [], sortable: [] },
      },
    ]);
    expect(parse([{ ...note, index: 'My_Notes' }])[0]?.index).toBe('My_Notes');
  });

  test('is told everything that is wrong with it at once', async () => {
    const fault = await faultOf(() =>
      parse([
        { ...note, name: 'Notes', colour: 'red' },
        {
          ...note,
          name: 'more',
          view: 'notes"; drop table x',
          topics: [],
          id: 7,
          searchable: ['a', 'a'],
          sortable: 'title',
        },
        { ...note, name: 'twice' },
        { ...note, name: 'twice' },
        'nothing',
      ]),
    );
    expect(fault).toBe(
      'notes.json: ' +
        [
          'projection "Notes": unknown field "colour"; there are name, index, view, topics, id, searchable, filterable, sortable',
          'projection "Notes": expected name to be a name such as "notes": lower-case letters, digits and hyphens, got "Notes"',
          'projection "more": expected view to be a schema and a view such as "public.note_documents", in lower case, got "notes\\"; drop table x"',
          'projection "more": expected topics to be a list of one or more topics such as "note.saved", got []',
          'projection "more": expected id to be where in the payload the id stands, such as "note_id" or "note.id", got 7',
          'projection "more": searchable names something twice',
          'projection "more": expected sortable to be a list of attributes such as "title" or "author.name", got "title"',
          'projection 5: expected an object, got "nothing"',
          'two projections have the name "twice"',
          'two projections have the index "twice"',
        ].join('; '),
    );
  });

  test('may not take the name or index of a projection that there is already', async () => {
    const fault = await faultOf(() =>
      parseProjections([{ ...note, name: 'items', index: 'files' }], {
        source: 'x.json',
        beside: shippedProjections(),
      }),
    );
    expect(fault).toBe(
      'x.json: two projections have the name "items"; two projections have the index "files"',
    );
  });

  test('that is missing, or is no JSON, or no list, is named', async () => {
    expect(await faultOf(() => loadProjections('/nowhere/notes.json'))).toBe(
      '/nowhere/notes.json: the file cannot be read (ENOENT)',
    );
    const file = join(tmpdir(), `pulsebox-broken-${process.pid}.json`);
    await writeFile(file, '[{');
    expect(await faultOf(() => loadProjections(file))).toContain('it is not JSON');
    await rm(file);
    expect(await faultOf(() => parse({}))).toContain('expected an array of projections');
  });
});

describe('the views of projections', () => {
  test('are those that ship', async () => {
    const verified = await verifyProjections(database.pool, shippedProjections());
    expect(verified.map(({ name, idType }) => [name, idType])).toEqual([
      ['items', 'uuid'],
      ['files', 'uuid'],
      ['mail', 'uuid'],
    ]);
  });

  test('are told to be missing or wrong, all at once', async () => {
    await database.pool.query(`
      create view public.wrong as select 1.5 as id, 'x'::text as organisation, 'x'::text as document;
      create view public.user as select 1::smallint as id, 'x'::varchar as organisation, '{}'::json as document, false as deleted`);
    const [projection] = parse([note]);
    if (projection === undefined) throw new Error('no projection');
    const fault = await faultOf(() =>
      verifyProjections(database.pool, [
        { ...projection, view: 'public.nothing' },
        { ...projection, view: 'public.wrong' },
        { ...projection, view: 'public.user' },
      ]),
    );
    expect(fault).toBe(
      [
        'projection notes: expected a view public.nothing, found none',
        'projection notes: expected public.wrong.id to be uuid, text, bigint or integer, got numeric',
        'projection notes: expected public.wrong.document to be jsonb, got text',
        'projection notes: expected public.wrong to have a column deleted (boolean)',
      ].join('; '),
    );
    expect(await verifyProjections(database.pool, [{ ...projection, view: 'public.user' }])).toMatchObject([
      { idType: 'integer' },
    ]);
    const search = createSearch({
      pool: database.pool,
      projections: [{ ...projection, view: 'public.user' }],
    });
    expect(await search.reindex('notes', { holder: 'test' })).toMatchObject({ rows: 1 });
    expect((await search.search('notes', { query: '' })).hits).toEqual([
      { id: '1', organisation: 'x', document: {} },
    ]);
  });

  test('never bring anything but a name into SQL', async () => {
    const [projection] = parse([note]);
    if (projection === undefined) throw new Error('no projection');
    for (const view of [
      'notes',
      'public.notes; drop table app.items',
      'public."notes"',
      'a.b.c',
      'public.Notes',
      '',
    ]) {
      expect(
        await faultOf(() => verifyProjections(database.pool, [{ ...projection, view }])),
        view,
      ).toContain('expected a view');
    }
  });
});
