// A database, a directory of files, and imports that are run by hand.

import { randomUUID } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readImport, requestImport } from '@pulsebox/imports';
import type { ImportRequest, ImportStatus } from '@pulsebox/imports';
import { createLogger } from '@pulsebox/loop';
import { transaction } from '@pulsebox/postgres';
import { createTestDatabase } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import { afterAll, afterEach, beforeAll, inject } from 'vitest';
import { runImport } from '../src/run-import.ts';
import type { ImportOutcome, RunOptions } from '../src/run-import.ts';

export interface Item {
  readonly canonical_id: string;
  readonly name: string;
  readonly text: string;
  readonly data: unknown;
  readonly source: string | null;
}

export interface ImportDesk {
  readonly database: TestDatabase;
  readonly directory: string;
  /** Puts a file there, and asks for its import. Result: the id. */
  request(content: string | Buffer, options?: Partial<ImportRequest>): Promise<string>;
  run(jobId: string, options?: Partial<RunOptions>): Promise<ImportOutcome>;
  status(jobId: string): Promise<ImportStatus>;
  /** Both, of a file. */
  import(
    content: string | Buffer,
    options?: Partial<ImportRequest>,
    run?: Partial<RunOptions>,
  ): Promise<ImportStatus>;
  /** Of an organisation, by id. */
  items(orgId?: string): Promise<readonly Item[]>;
  /** Ids of items in the order in which their events stand in the log. */
  events(orgId?: string): Promise<readonly string[]>;
  pushes(): Promise<readonly Readonly<Record<string, unknown>>[]>;
  clear(): Promise<void>;
  close(): Promise<void>;
}

const log = createLogger({ worker: 'test', level: 'silent' });

export async function openDesk(serverUrl: string): Promise<ImportDesk> {
  const database = await createTestDatabase(serverUrl);
  const directory = await mkdtemp(join(tmpdir(), 'pulsebox-imports-'));
  const { pool } = database;
  const { signal } = new AbortController();

  const desk: ImportDesk = {
    database,
    directory,
    async request(content, options = {}): Promise<string> {
      const filePath = options.filePath ?? `${randomUUID()}.txt`;
      await writeFile(join(directory, filePath), content);
      return await transaction(pool, async (client) =>
        requestImport(client, { orgId: 'acme', ...options, filePath }),
      );
    },
    run: async (jobId, options = {}) =>
      runImport({
        pool,
        directory,
        jobId,
        runner: randomUUID(),
        signal,
        stopping: signal,
        progress: () => undefined,
        log,
        ...options,
      }),
    async status(jobId): Promise<ImportStatus> {
      const status = await readImport(pool, jobId);
      if (status === undefined) throw new Error(`there is no import ${jobId}`);
      return status;
    },
    async import(content, options = {}, run = {}): Promise<ImportStatus> {
      const jobId = await desk.request(content, options);
      await desk.run(jobId, run);
      return await desk.status(jobId);
    },
    async items(orgId = 'acme'): Promise<readonly Item[]> {
      const { rows } = await pool.query<Item>(
        'select canonical_id, name, text, data, source from app.items where org_id = $1 order by canonical_id collate "C"',
        [orgId],
      );
      return rows;
    },
    async events(orgId = 'acme'): Promise<readonly string[]> {
      const { rows } = await pool.query<{ id: string }>(
        `select i.canonical_id as id from outbox.event e join app.items i on 'item:' || i.item_id = e.key
         where e.topic = 'item.upserted' and i.org_id = $1 order by e.seq`,
        [orgId],
      );
      return rows.map(({ id }) => id);
    },
    async pushes(): Promise<readonly Readonly<Record<string, unknown>>[]> {
      const { rows } = await pool.query<{ payload: Record<string, unknown> }>(
        `select payload from outbox.event where topic = 'push.requested' order by seq`,
      );
      return rows.map(({ payload }) => payload);
    },
    async clear(): Promise<void> {
      await pool.query('truncate app.items, app.import_jobs, outbox.event cascade');
    },
    async close(): Promise<void> {
      await database.drop();
      await rm(directory, { recursive: true, force: true });
    },
  };
  return desk;
}

/** One desk for the file, cleared after each test. To be called where hooks are. */
export function deskOfFile(give: (desk: ImportDesk) => void): void {
  let desk: ImportDesk;
  beforeAll(async () => {
    desk = await openDesk(inject('serverUrl'));
    give(desk);
  });
  afterAll(async () => {
    await desk.close();
  });
  afterEach(async () => {
    await desk.clear();
  });
}

/** A row in the native form. */
export function native(
  id: string | number,
  item: Readonly<Record<string, unknown>> = {},
): Record<string, unknown> {
  return { canonical_id: id, item: { name: `Item ${id}`, ...item } };
}

export function ndjson(rows: readonly unknown[]): string {
  return rows.map((row) => `${JSON.stringify(row)}\n`).join('');
}
