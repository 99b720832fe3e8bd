import { connect, createServer } from 'node:net';
import type { AddressInfo, Server } from 'node:net';
import { createPool } from '@pulsebox/postgres';
import { createTestDatabase } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { boundedQueries } from '../src/bounded-queries.ts';

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase(inject('serverUrl'));
});
afterAll(async () => {
  await database.drop();
});

test('lives through the two errors that PgBouncer sends behind an answer when its server ends', async () => {
  const pooler = await poolerWithLastWords(
    'marker',
    Buffer.concat([
      errorResponse('57P01', 'terminating connection due to administrator command'),
      errorResponse('08P01', 'server conn crashed?'),
    ]),
  );
  const pool = createPool({ connection: { connectionString: pooler.url }, onIdleError: () => undefined });
  try {
    const db = boundedQueries(pool, 5_000);
    // Unheard, either error would be an uncaught exception, and fail the run.
    await expect(db.query(`select 'marker' as answer`)).rejects.toThrow('terminating connection');
    // That connection is not used again.
    await expect(db.query(`select 'next' as answer`)).resolves.toMatchObject({ rows: [{ answer: 'next' }] });
  } finally {
    await pool.end();
    pooler.server.close();
  }
});

/** Passes everything on, and appends `lastWords` to the answer that has `marker` in it, in one packet. */
async function poolerWithLastWords(
  marker: string,
  lastWords: Buffer,
): Promise<{ readonly url: string; readonly server: Server }> {
  const target = new URL(database.url);
  const server = createServer((client) => {
    const upstream = connect(Number(target.port), target.hostname);
    client.on('data', (chunk) => upstream.write(chunk)).on('error', () => undefined);
    client.on('close', () => upstream.destroy());
    upstream.on('error', () => undefined).on('close', () => client.destroy());
    upstream.on('data', (chunk) => {
      if (chunk.includes(marker)) client.end(Buffer.concat([chunk, lastWords]));
      else client.write(chunk);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
  const url = new URL(target);
  url.port = String((server.address() as AddressInfo).port);
  return { url: url.href, server };
}

/** ErrorResponse of the wire protocol: severity, code and message, each with its letter and a zero. */
function errorResponse(code: string, message: string): Buffer {
  const fields = Buffer.from(`SFATAL\0C${code}\0M${message}\0\0`);
  const head = Buffer.alloc(5);
  head.write('E');
  head.writeInt32BE(fields.length + 4, 1);
  return Buffer.concat([head, fields]);
}
