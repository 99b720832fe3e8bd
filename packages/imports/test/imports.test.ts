// What becomes of the rows of a file.

import { gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { deskOfFile, native, ndjson } from './import-desk.ts';
import type { ImportDesk } from './import-desk.ts';

let desk: ImportDesk;

deskOfFile((opened) => {
  desk = opened;
});

const three = [native('a'), native('b', { text: 'words', weight: 2 }), native('c')];

describe('formats', () => {
  const csv = 'canonical_id,name,text,weight\na,Item a,,\nb,Item b,words,2\nc,"Item c",,\n';
  test.each([
    ['an array', JSON.stringify(three)],
    ['an array over many lines', JSON.stringify(three, undefined, 2)],
    ['an object with items', JSON.stringify({ version: 1, items: three })],
    ['an object with data', JSON.stringify({ data: three, next: null }, undefined, 1)],
    ['an object with export', JSON.stringify({ meta: { items: 3 }, export: three })],
    ['NDJSON', ndjson(three)],
    ['NDJSON without an end of line', ndjson(three).trimEnd()],
    ['NDJSON with CRLF', ndjson(three).replaceAll('\n', '\r\n')],
    ['a byte order mark before JSON', `\uFEFF${JSON.stringify(three)}`],
    ['a byte order mark before NDJSON', `\uFEFF${ndjson(three)}`],
    ['CSV', csv],
    ['CSV with CRLF and a byte order mark', `\uFEFF${csv.replaceAll('\n', '\r\n')}`],
    ['CSV with semicolons', csv.replaceAll(',', ';')],
    ['CSV with tabs', csv.replaceAll(',', '\t')],
  ])('%s is recognised, plain and packed', async (_, text) => {
    const counts = { processed: 3, created: 3, updated: 0, unchanged: 0, skipped: 0, failed: 0 };
    expect(await desk.import(text)).toMatchObject({ state: 'completed', counts, reason: null });
    const items = await desk.items();
    expect(items.map(({ canonical_id: id, name }) => [id, name])).toEqual([
      ['a', 'Item a'],
      ['b', 'Item b'],
      ['c', 'Item c'],
    ]);
    expect(items[1]).toMatchObject({ text: 'words' });
    const packed = await desk.import(gzipSync(text), { orgId: 'packed' });
    expect(packed).toMatchObject({ state: 'completed', counts });
    expect(await desk.items('packed')).toEqual(items);
  });

  test('an object that says much of itself before its rows is recognised by its name', async () => {
    const text = JSON.stringify({ meta: 'x'.repeat(200_000), items: three });
    expect(await desk.import(text, { filePath: 'large.json' })).toMatchObject({ counts: { created: 3 } });
    expect(await desk.import(text, { filePath: 'large.json.gz', orgId: 'b' })).toMatchObject({
      counts: { created: 3 },
    });
    const lines = ndjson(three);
    expect(await desk.import(lines, { filePath: 'lines.json', orgId: 'c' })).toMatchObject({
      counts: { created: 3 },
    });
  });

  test('a file without rows is an import of none', async () => {
    for (const text of ['[]', '{"items": []}', 'canonical_id,name\n'])
      expect(await desk.import(text)).toMatchObject({ state: 'completed', counts: { processed: 0 } });
  });

  test('several archives one after the other are one file', async () => {
    const packed = Buffer.concat([gzipSync(ndjson([native(1)])), gzipSync(ndjson([native(2)]))]);
    expect(await desk.import(packed)).toMatchObject({ counts: { created: 2 } });
  });

  test('CSV is mapped: fields of the row, fields of the item, and the rest under its own name', async () => {
    const text = 'ID;Title;Origin;Seen;Colour\n7;"Say ""hi""; twice";shop;2024-05-06;red\n';
    const mapping = { columns: { canonical_id: 'ID', name: 'Title', source: 'Origin', created_at: 'Seen' } };
    expect(await desk.import(text, { mapping })).toMatchObject({ counts: { created: 1 } });
    expect(await desk.items()).toEqual([
      { canonical_id: '7', name: 'Say "hi"; twice', text: '', data: { Colour: 'red' }, source: 'shop' },
    ]);
    const { rows } = await desk.database.pool.query(`select created_at from app.items`);
    expect(rows).toEqual([{ created_at: new Date('2024-05-06T00:00:00Z') }]);
  });

  test('the native form has times of its own; without them it is now', async () => {
    await desk.import(
      ndjson([
        { ...native(1), created_at: '2020-01-02T03:04:05+02:00', updated_at: '2021-01-01' },
        native(2),
      ]),
    );
    const { rows } = await desk.database.pool.query(
      `select created_at, updated_at, updated_at > now() - interval '1 hour' as now from app.items order by canonical_id`,
    );
    expect(rows).toMatchObject([
      { created_at: new Date('2020-01-02T01:04:05Z'), updated_at: new Date('2021-01-01T00:00:00Z') },
      { now: true },
    ]);
  });

  test('numbers keep all their digits', async () => {
    const text =
      '{"canonical_id":12345678901234567890,"item":{"name":"n","id":9007199254740993,"rate":0.1000000000000000055511151231257827,"e":1e400,"z":1.50,"s":"9007199254740993"}}';
    await desk.import(text);
    const { rows } = await desk.database.pool.query(
      `select canonical_id, data->>'id' as id, data->>'rate' as rate, length(data->>'e') as e, data->>'z' as z, data->>'s' as s from app.items`,
    );
    expect(rows).toEqual([
      {
        canonical_id: '12345678901234567890',
        id: '9007199254740993',
        rate: '0.1000000000000000055511151231257827',
        e: 401,
        z: '1.5',
        s: '9007199254740993',
      },
    ]);
    expect(await desk.import(text)).toMatchObject({ counts: { unchanged: 1 } });
  });
});

describe('once more', () => {
  test('what has not changed is not touched and has no event, in whatever order it is written', async () => {
    await desk.import(ndjson([native('a', { x: 1, y: { p: 1, q: [1, { r: 2, s: 3 }] } })]));
    const before = await desk.database.pool.query('select xmin, xmax, ctid, i.* from app.items i');
    const again = '{"item":{"y":{"q":[1,{"s":3,"r":2}],"p":1},"x":1.0,"name":"Item a"},"canonical_id":"a"}';
    expect(await desk.import(again)).toMatchObject({ counts: { unchanged: 1, updated: 0 } });
    expect((await desk.database.pool.query('select xmin, xmax, ctid, i.* from app.items i')).rows).toEqual(
      before.rows,
    );
    expect(await desk.events()).toEqual(['a']);
  });

  test('what has changed is written, with one event each', async () => {
    await desk.import(ndjson(three));
    const changed = [native('a'), native('b', { text: 'other words' }), native('d')];
    const { counts } = await desk.import(ndjson(changed));
    expect(counts).toMatchObject({ created: 1, updated: 1, unchanged: 1 });
    expect(await desk.events()).toEqual(['a', 'b', 'c', 'b', 'd']);
    expect((await desk.items()).map(({ text }) => text)).toEqual(['', 'other words', '', '']);
  });

  test('what the application has written since is compared by its content', async () => {
    await desk.import(ndjson(three));
    const { pool } = desk.database;
    await pool.query(`update app.items set name = 'mine' where canonical_id = 'a'`);
    await pool.query(`update app.items set name = name, updated_at = now() where canonical_id = 'b'`);
    // There and back again: the hash is gone, the content is the same.
    await pool.query(`update app.items set name = 'x' where canonical_id = 'c'`);
    await pool.query(`update app.items set name = 'Item c' where canonical_id = 'c'`);
    expect((await desk.import(ndjson(three))).counts).toMatchObject({ updated: 1, unchanged: 2 });
    expect((await desk.items())[0]).toMatchObject({ name: 'Item a' });
    const { rows } = await pool.query('select count(*)::int as n from app.items where content_hash is null');
    expect(rows).toEqual([{ n: 1 }]);
  });

  test('an archived item stays archived', async () => {
    await desk.import(ndjson(three));
    await desk.database.pool.query('update app.items set archived_at = now()');
    await desk.import(ndjson([native('a', { text: 'new' })]));
    const { rows } = await desk.database.pool.query(
      'select count(*)::int as n from app.items where archived_at is not null',
    );
    expect(rows).toEqual([{ n: 3 }]);
  });

  test('the same id twice in a file: the last one counts, and each step is an event', async () => {
    const rows = [
      native('a'),
      native('a', { n: 1 }),
      native('a', { n: 1 }),
      native('b'),
      native('a', { n: 2 }),
    ];
    expect((await desk.import(ndjson(rows))).counts).toMatchObject({ created: 2, updated: 2, unchanged: 1 });
    expect((await desk.items()).map(({ data }) => data)).toEqual([{ n: 2 }, {}]);
    expect((await desk.events()).filter((id) => id === 'a')).toHaveLength(3);
  });

  test('organisations do not meet', async () => {
    await desk.import(ndjson(three));
    expect((await desk.import(ndjson(three), { orgId: 'other' })).counts).toMatchObject({ created: 3 });
  });
});

describe('options', () => {
  test('without updates what is there stays as it is', async () => {
    await desk.import(ndjson(three));
    const rows = [native('a'), native('b', { text: 'changed' }), native('d')];
    const { counts } = await desk.import(ndjson(rows), { updateExisting: false });
    expect(counts).toMatchObject({ created: 1, updated: 0, unchanged: 1, skipped: 1 });
    expect((await desk.items())[1]).toMatchObject({ text: 'words' });
    expect(await desk.events()).toEqual(['a', 'b', 'c', 'd']);
  });

  test('completed items are left out unless they are asked for', async () => {
    const rows = [
      native(1, { completed: true }),
      native(2, { completed_at: '2024-01-01' }),
      native(3, { status: 'Done' }),
      native(4, { completed: false, completed_at: null, status: 'open' }),
    ];
    expect((await desk.import(ndjson(rows))).counts).toMatchObject({ created: 1, skipped: 3 });
    expect((await desk.import(ndjson(rows), { includeCompleted: true })).counts).toMatchObject({
      created: 3,
      unchanged: 1,
    });
  });

  test('a dry run says what would become of the rows, and writes none', async () => {
    await desk.import(ndjson(three));
    const rows = [native('a'), native('b', { text: 'changed' }), native('d'), { nonsense: true }];
    const dry = await desk.import(ndjson(rows), { dryRun: true, ownerId: 'ann' });
    expect(dry).toMatchObject({
      state: 'completed',
      counts: { processed: 4, created: 1, updated: 1, unchanged: 1, failed: 1 },
    });
    expect(await desk.items()).toHaveLength(3);
    expect(await desk.events()).toHaveLength(3);
    expect((await desk.import(ndjson(rows))).counts).toEqual(dry.counts);
    expect(await desk.pushes()).toMatchObject([{ payload: { title: 'Trial import finished' } }]);
  });

  test.each([true, false])(
    'a dry run counts an id that comes again as the import does, in other chunks too (update what is there: %s)',
    async (updateExisting) => {
      await desk.import(ndjson([native('there')]));
      const rows = [
        native('new'),
        native('there', { text: 'changed' }),
        native('new'),
        native('new', { text: 'changed' }),
        native('there'),
        native('new', { text: 'changed' }),
        native('x'),
      ];
      const options = { updateExisting };
      const limits = { chunk: { rows: 2, bytes: 1_000_000 } };
      const dry = await desk.import(ndjson(rows), { ...options, dryRun: true }, limits);
      expect(dry.counts.created).toBe(2);
      const { rows: left } = await desk.database.pool.query('select from app.import_trial_items');
      expect(left).toHaveLength(0);
      expect((await desk.import(ndjson(rows), options, limits)).counts).toEqual(dry.counts);
    },
  );

  test('a dry run that is tried again remembers nothing of before', async () => {
    const jobId = await desk.request(ndjson(three), { dryRun: true });
    await desk.database.pool.query(
      `insert into app.import_trial_items select $1, canonical_id, '' from unnest(array['a', 'b']) canonical_id`,
      [jobId],
    );
    await desk.run(jobId);
    expect((await desk.status(jobId)).counts).toMatchObject({ created: 3, updated: 0 });
  });

  test('without events items are written in silence', async () => {
    await desk.import(ndjson(three), { emitEvents: false });
    expect(await desk.items()).toHaveLength(3);
    expect(await desk.events()).toEqual([]);
  });
});

test('its owner is told once at the end, and nobody where there is no owner', async () => {
  const rows = [...three, native('a'), { nonsense: 1 }];
  const jobId = await desk.request(ndjson(rows), { ownerId: 'ann' });
  await desk.run(jobId);
  await desk.import(ndjson(rows));
  expect(await desk.pushes()).toEqual([
    {
      user_id: 'ann',
      payload: {
        title: 'Import finished',
        body: '3 created, 1 unchanged, 1 failed',
        tag: `import-${jobId}`,
        data: {
          job_id: jobId,
          state: 'completed',
          processed: 5,
          created: 3,
          updated: 0,
          unchanged: 1,
          skipped: 0,
          failed: 1,
        },
      },
    },
  ]);
});
