// What is wrong with a row, a file or a request, and what becomes of the rest.

import { gzipSync } from 'node:zlib';
import { importFaults, requestImport } from '@pulsebox/imports';
import { transaction } from '@pulsebox/postgres';
import { describe, expect, test } from 'vitest';
import { deskOfFile, native, ndjson } from './import-desk.ts';
import type { ImportDesk } from './import-desk.ts';

let desk: ImportDesk;

deskOfFile((opened) => {
  desk = opened;
});

describe('rows with faults', () => {
  const bad: readonly [row: string, reason: string][] = [
    ['{"canonical_id":"x"', 'expected JSON, got'],
    ['[]', 'expected a row to be an object, got an array'],
    ['5', 'expected a row to be an object, got 5'],
    ['null', 'expected a row to be an object, got null'],
    ['{"item":{"name":"n"}}', 'expected canonical_id to be a text or a whole number, got none'],
    [
      '{"canonical_id":"","item":{"name":"n"}}',
      'expected canonical_id to be a text or a whole number, got ""',
    ],
    ['{"canonical_id":1.5,"item":{"name":"n"}}', 'got 1.5'],
    ['{"canonical_id":{},"item":{"name":"n"}}', 'got an object'],
    [`{"canonical_id":"${'ü'.repeat(501)}","item":{"name":"n"}}`, 'at most 1000 bytes, got 1002'],
    ['{"canonical_id":"\\u0000","item":{"name":"n"}}', 'a zero character'],
    ['{"canonical_id":"x","item":[]}', 'expected item to be an object, got an array'],
    ['{"canonical_id":"x","item":{}}', 'expected item.name to be a text, got none'],
    ['{"canonical_id":"x","item":{"name":7}}', 'expected item.name to be a text, got 7'],
    ['{"canonical_id":"x","item":{"name":"n","text":[1]}}', 'expected item.text to be a text, got an array'],
    ['{"canonical_id":"x","item":{"name":"a\\u0000b"}}', 'a zero character or half of a surrogate pair'],
    ['{"canonical_id":"x","item":{"name":"n","d":{"k\\u0000":1}}}', 'a zero character'],
    ['{"canonical_id":"x","item":{"name":"n","d":["\\ud800"]}}', 'half of a surrogate pair'],
    [
      '{"canonical_id":"x","item":{"name":"n"},"created_at":"yesterday"}',
      'expected created_at to be a moment',
    ],
    ['{"canonical_id":"x","item":{"name":"n"},"created_at":"2024-02-31"}', 'got "2024-02-31"'],
    ['{"canonical_id":"x","item":{"name":"n"},"updated_at":5}', 'expected updated_at to be a moment'],
    ['{"canonical_id":"x","item":{"name":"n"},"source":[]}', 'expected source to be a text'],
    ['{"canonical_id":"x","item":{"name":"n"},"itme":1}', 'got "itme" as well'],
    [
      `{"canonical_id":"x","item":{"name":"n","d":${'['.repeat(200)}${']'.repeat(200)}}}`,
      'at most 100 levels',
    ],
    [
      `{"canonical_id":"x","item":{"name":"n","d":${'['.repeat(50_000)}${']'.repeat(50_000)}}}`,
      'at most 100 levels',
    ],
    ['{"canonical_id":"x","item":{"name":"n","d":1e131071}}', 'at most 1000 digits, got 1e131071'],
    ['{"canonical_id":"x","item":{"name":"n","d":[-1E-1001]}}', 'at most 1000 digits, got -1E-1001'],
    // Of which zeros were looked for with an expression that took an hour.
    [
      `{"canonical_id":"x","item":{"name":"n","d":0.${'0'.repeat(1_000_000)}1}}`,
      'at most 1000 digits, got one of 1000003 characters',
    ],
    [
      `{"canonical_id":"x","item":{"name":"n","d":1e${'9'.repeat(1_000_000)}}}`,
      'at most 1000 digits, got one of 1000002 characters',
    ],
  ];

  test.each(bad.map(([row, reason]) => ({ row, reason })))(
    '"$reason" is kept with its line, and the other rows are imported',
    async ({ row, reason }) => {
      const jobId = await desk.request(
        `${JSON.stringify(native('a'))}\n\n${row}\n${JSON.stringify(native('b'))}\n`,
        {
          format: 'ndjson',
        },
      );
      await desk.run(jobId);
      expect(await desk.status(jobId)).toMatchObject({
        state: 'completed',
        counts: { created: 2, failed: 1 },
      });
      const faults = await importFaults(desk.database.pool, jobId);
      expect(faults).toMatchObject([{ row: 2, line: 3 }]);
      expect(faults[0]?.reason).toContain(reason);
    },
  );

  test('bytes that are no UTF-8 are a fault of their row, in every format', async () => {
    const bytes = (text: string): Buffer => Buffer.from(text, 'latin1');
    const json = bytes('{"canonical_id":"x","item":{"name":"\xff\xfe"}}');
    const good = bytes(JSON.stringify(native('a')));
    const files = [
      Buffer.concat([bytes('['), json, bytes(','), good, bytes(']')]),
      Buffer.concat([json, bytes('\n'), good]),
      bytes('canonical_id,name\nx,\xff\xfe\na,Item a\n'),
    ];
    for (const [index, file] of files.entries()) {
      const status = await desk.import(file, { orgId: `org ${index}` });
      expect(status).toMatchObject({ state: 'completed', counts: { created: 1, failed: 1 } });
    }
  });

  test('faults of CSV are those of their record', async () => {
    const lines = [
      'canonical_id,name',
      '1,ok',
      '2',
      '3,a,b',
      '4,x"y',
      '5,"x"y',
      ',nobody',
      '6,"two\nlines"',
      '7,"open',
    ];
    const jobId = await desk.request(lines.join('\n'));
    await desk.run(jobId);
    expect(await importFaults(desk.database.pool, jobId)).toEqual([
      { row: 2, line: 3, reason: 'expected 2 fields, as the first line has, got 1' },
      { row: 3, line: 4, reason: 'expected 2 fields, as the first line has, got 3' },
      { row: 4, line: 5, reason: expect.stringContaining('a quote inside a field') as string },
      { row: 5, line: 6, reason: expect.stringContaining('text behind the quote') as string },
      { row: 6, line: 7, reason: expect.stringContaining('canonical_id') as string },
      { row: 8, line: 10, reason: expect.stringContaining('quote') as string },
    ]);
    expect((await desk.items()).map(({ name }) => name)).toEqual(['ok', 'two\nlines']);
  });

  test('the first hundred are kept and all are counted', async () => {
    const rows = Array.from({ length: 2_500 }, (_, n) => (n % 10 === 0 ? native(n) : n));
    const jobId = await desk.request(ndjson(rows), { format: 'ndjson' });
    await desk.run(jobId);
    expect((await desk.status(jobId)).counts).toMatchObject({ created: 250, failed: 2_250 });
    const faults = await importFaults(desk.database.pool, jobId);
    expect(faults).toHaveLength(100);
    expect(faults.at(-1)).toMatchObject({ row: 112 });
  });

  test('what a trigger of the application refuses is a fault of its row', async () => {
    const { pool } = desk.database;
    await pool.query(`alter table app.items add constraint no_evil check (name not like 'evil%')`);
    try {
      const rows = Array.from({ length: 40 }, (_, n) => native(n, { name: n % 13 === 5 ? 'evil' : 'good' }));
      const jobId = await desk.request(ndjson(rows));
      await desk.run(jobId);
      expect(await desk.status(jobId)).toMatchObject({
        state: 'completed',
        counts: { created: 37, failed: 3 },
      });
      const faults = await importFaults(pool, jobId);
      expect(faults.map(({ row }) => row)).toEqual([6, 19, 32]);
      expect(faults[0]?.reason).toContain('no_evil');
      expect(await desk.events()).toHaveLength(37);
    } finally {
      await pool.query('alter table app.items drop constraint no_evil');
    }
  });

  test('a line of 100 MB is passed over in little memory', async () => {
    const long = Buffer.alloc(100_000_000, 'x');
    const before = JSON.stringify(native('a'));
    const file = Buffer.concat([
      Buffer.from(`${before}\n{"canonical_id":"`),
      long,
      Buffer.from(`"}\n${JSON.stringify(native('b'))}`),
    ]);
    const jobId = await desk.request(file, { format: 'ndjson' });
    await desk.run(jobId);
    expect(await desk.status(jobId)).toMatchObject({ state: 'completed', counts: { created: 2, failed: 1 } });
    expect(await importFaults(desk.database.pool, jobId)).toMatchObject([
      { line: 2, reason: 'expected a row of at most 1,048,576 bytes, got a longer one' },
    ]);
  });
});

describe('files with faults', () => {
  const whole = JSON.stringify(Array.from({ length: 3_000 }, (_, n) => native(n)));
  test.each([
    ['cut off', whole.slice(0, -20), 'IMPORTS_FILE_BROKEN', 2_999],
    ['a packed file that is cut off', gzipSync(whole).subarray(0, -30), 'IMPORTS_FILE_BROKEN', undefined],
    ['a packed file that is damaged', damaged(gzipSync(whole)), 'IMPORTS_FILE_BROKEN', undefined],
    ['empty', '', 'IMPORTS_FORMAT_UNKNOWN', 0],
    ['blank', ' \n ', 'IMPORTS_FORMAT_UNKNOWN', 0],
    ['JSON of something else', '[["a", 1], ["b", 2]] nonsense', 'IMPORTS_FILE_BROKEN', 0],
    ['UTF-16', Buffer.from('\uFEFF[]', 'utf16le'), 'IMPORTS_FORMAT_UNKNOWN', 0],
    ['a picture', Buffer.from([0x00, 0x01, 0x02, 0xff, 0xd8]), 'IMPORTS_FORMAT_UNKNOWN', 0],
    ['CSV without an id', 'name,text\nx,y\n', 'IMPORTS_MAPPING_INVALID', 0],
    ['CSV with a column twice', 'canonical_id,name,name\n1,x,y\n', 'IMPORTS_MAPPING_INVALID', 0],
  ])('%s: it has failed, with its reason, and stays failed', async (what, content, code, created) => {
    const jobId = await desk.request(content, { ownerId: 'ann' });
    expect(await desk.run(jobId), what).toBe('failed');
    const status = await desk.status(jobId);
    expect(status).toMatchObject({ state: 'failed', reason: expect.stringContaining(code) as string });
    if (created !== undefined) expect(status.counts.created).toBe(created);
    expect(await desk.items()).toHaveLength(status.counts.created);
    expect(await desk.run(jobId)).toBe('nothing');
    expect(await desk.pushes()).toMatchObject([{ user_id: 'ann', payload: { title: 'Import failed' } }]);
  });

  test('a mapping whose column is not there is refused, and the ones that are there are named', async () => {
    const status = await desk.import('ID,Title\n1,x\n', {
      mapping: { columns: { canonical_id: 'ID', name: 'Titel' } },
    });
    expect(status.reason).toContain('expected the columns of the mapping among "ID", "Title", got "Titel"');
  });

  test('requests that cannot be are refused at once', async () => {
    const { pool } = desk.database;
    const asked = (request: object): Promise<string> =>
      transaction(pool, async (client) =>
        requestImport(client, { orgId: 'acme', filePath: 'x', ...request }),
      );
    await expect(asked({ orgId: ' ' })).rejects.toMatchObject({ code: 'IMPORTS_REQUEST_INVALID' });
    await expect(asked({ ownerId: 'x\0' })).rejects.toMatchObject({ code: 'IMPORTS_REQUEST_INVALID' });
    await expect(asked({ format: 'xml' })).rejects.toMatchObject({ code: 'IMPORTS_REQUEST_INVALID' });
    await expect(asked({ filePath: '../x' })).rejects.toMatchObject({ code: 'IMPORTS_PATH_FORBIDDEN' });
    await expect(asked({ mapping: { delimiter: ';;' } })).rejects.toMatchObject({
      code: 'IMPORTS_MAPPING_INVALID',
    });
    await expect(asked({ mapping: { colums: {} } })).rejects.toMatchObject({
      code: 'IMPORTS_MAPPING_INVALID',
    });
  });
});

function damaged(bytes: Buffer): Buffer {
  bytes.fill(0xaa, Math.floor(bytes.length / 2), Math.floor(bytes.length / 2) + 20);
  return bytes;
}
