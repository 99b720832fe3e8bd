// Random commands against the real log and a model of it. What they disagree about is shrunk to the fewest commands.

import { acquireLease, releaseLease } from '@pulsebox/postgres';
import type { Queryable } from '@pulsebox/postgres';
import { createTestDatabase } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import fc from 'fast-check';
import type { AsyncCommand } from 'fast-check';
import type { Pool, PoolClient } from 'pg';
import { afterEach, beforeEach, expect, inject, test } from 'vitest';
import { registerGroup } from '../src/group/consumer-group.ts';
import type { Cursor } from '../src/read/cursor.ts';
import { emitAll } from '../src/log/emit.ts';
import { readBatch } from '../src/read/read-batch.ts';
import type { ReadBatch } from '../src/read/batch.ts';
import { laneLeaseName } from '../src/lease/lane-of-group.ts';
import { loadCursor, pruneCursors, storeCursor } from '../src/lease/store-cursor.ts';
import type { LaneOfGroup } from '../src/lease/lane-of-group.ts';
import type { StoredCursor } from '../src/lease/store-cursor.ts';
import { faults } from './interleaving.ts';
import { expectedBatch, logModel } from './log-model.ts';
import type { LogModel } from './log-model.ts';
import { labelOf } from './log-reader.ts';

const WRITERS = 3;
const HOLDERS = ['A', 'B'] as const;
const KEYS = 4;
const LONG_TTL_MS = 600_000;

interface RealHolder {
  stored: StoredCursor | undefined;
  pending: ReadBatch | undefined;
}

interface RealLog {
  readonly pool: Pool;
  /** What reads go through; a test of this test breaks them here. */
  readonly readThrough: Queryable;
  readonly lane: LaneOfGroup;
  readonly writers: readonly PoolClient[];
  readonly holders: readonly RealHolder[];
}

type Command = AsyncCommand<LogModel, RealLog>;

let database: TestDatabase;

// One for each test: a run that the clock interrupts goes on writing for a moment.
beforeEach(async () => {
  database = await createTestDatabase(inject('serverUrl'));
});
afterEach(async () => {
  await database.drop();
});

function command(
  name: string,
  check: (model: LogModel) => boolean,
  run: (model: LogModel, real: RealLog) => Promise<void>,
): Command {
  return { check, run, toString: () => name };
}

const begin = (writer: number): Command =>
  command(
    `writer ${writer} begins, and has an xid`,
    (model) => !model.writers[writer]!.open,
    async (model, { writers }) => {
      await writers[writer]!.query('begin');
      await writers[writer]!.query('select pg_current_xact_id()');
      model.writers[writer]!.open = true;
    },
  );

const emit = (writer: number, key: number, count: number): Command =>
  command(
    `writer ${writer} emits ${count} of key ${key}`,
    (model) => (model.lockedBy.get(`k${key}`) ?? writer) === writer,
    async (model, { writers }) => {
      if (!model.writers[writer]!.open) await writers[writer]!.query('begin');
      model.writers[writer]!.open = true;
      const labels = Array.from({ length: count }, () => `k${key}#${(model.emitted += 1)}`);
      const events = labels.map((label) => ({ topic: 'test.written', key: `k${key}`, payload: label }));
      const positions = await emitAll(writers[writer]!, events);
      model.lockedBy.set(`k${key}`, writer);
      for (const [n, label] of labels.entries())
        model.writers[writer]!.written.push({ label, position: positions[n]! });
    },
  );

const end = (writer: number, how: 'commit' | 'rollback'): Command =>
  command(
    `writer ${writer}: ${how}`,
    (model) => model.writers[writer]!.open,
    async (model, { writers }) => {
      await writers[writer]!.query(how);
      const state = model.writers[writer]!;
      if (how === 'commit') model.committed.push(...state.written);
      Object.assign(state, { written: [], savepoints: [], open: false });
      for (const [key, owner] of model.lockedBy) if (owner === writer) model.lockedBy.delete(key);
    },
  );

const savepoint = (writer: number): Command =>
  command(
    `writer ${writer}: savepoint`,
    (model) => model.writers[writer]!.open,
    async (model, { writers }) => {
      const { savepoints, written } = model.writers[writer]!;
      savepoints.push(written.length);
      await writers[writer]!.query(`savepoint s${savepoints.length}`);
    },
  );

const rollbackTo = (writer: number): Command =>
  command(
    `writer ${writer}: rollback to savepoint`,
    (model) => model.writers[writer]!.savepoints.length > 0,
    async (model, { writers }) => {
      const { savepoints, written } = model.writers[writer]!;
      await writers[writer]!.query(`rollback to savepoint s${savepoints.length}`);
      // The savepoint stays, and with it the locks that the model has for the whole transaction.
      written.length = savepoints.at(-1)!;
    },
  );

const acquire = (holder: number): Command =>
  command(
    `${HOLDERS[holder]} asks for the lease`,
    () => true,
    async (model, { pool, lane, holders }) => {
      const { lease } = model;
      const free = lease.heldBy === null || lease.expired;
      const request = { name: laneLeaseName(lane), holder: HOLDERS[holder]!, ttlMs: LONG_TTL_MS };
      const attempt = await acquireLease(pool, request);
      if (!free) {
        expect(attempt).toMatchObject({ acquired: false, heldBy: HOLDERS[lease.heldBy!] });
        return;
      }
      expect(attempt).toEqual({ acquired: true, token: lease.token + 1, tookOver: lease.heldBy !== null });
      const token = lease.token + 1;
      model.lease = { token, heldBy: holder, expired: false };
      const found = await loadCursor(pool, lane);
      expect(found?.cursor.position).toBe(model.stored.position);
      holders[holder]!.stored = { ...found!, token, batch: 0 };
      holders[holder]!.pending = undefined;
      model.holders[holder] = { token, batch: 0, cursor: model.stored, pending: null };
    },
  );

const lose = (): Command =>
  command(
    'the lease runs out',
    ({ lease }) => lease.heldBy !== null && !lease.expired,
    async (model, { pool, lane }) => {
      await pool.query(
        `update pulsebox.lease set expires_at = clock_timestamp() - interval '1 s' where name = $1`,
        [laneLeaseName(lane)],
      );
      model.lease.expired = true;
    },
  );

const release = (holder: number): Command =>
  command(
    `${HOLDERS[holder]} gives the lease back`,
    (model) => model.holders[holder]!.token !== null,
    async (model, { pool, lane }) => {
      const { token } = model.holders[holder]!;
      const released = await releaseLease(pool, { name: laneLeaseName(lane), token: token! });
      expect(released).toBe(token === model.lease.token);
      if (released) model.lease = { token: token!, heldBy: null, expired: false };
      model.holders[holder]!.token = null;
      model.holders[holder]!.pending = null;
    },
  );

/** Reads what follows and hands it to a handler; a holder that was replaced reads and hands over nothing. */
const read = (holder: number, limit: number): Command =>
  command(
    `${HOLDERS[holder]} reads ${limit}`,
    (model) => model.holders[holder]!.token !== null,
    async (model, { readThrough, holders }) => {
      const mine = model.holders[holder]!;
      const real = holders[holder]!;
      const cursor: Cursor = real.stored!.cursor;
      const batch = await readBatch(readThrough, cursor, limit);
      const expected = expectedBatch(model, mine.cursor, limit);
      expect(batch.events.map(labelOf)).toEqual(expected.events.map(({ label }) => label));
      expect(batch.next.position).toBe(expected.next.position);
      if (mine.token === model.lease.token) model.delivered.push(...batch.events.map(labelOf));
      if (batch.events.length > 0) {
        mine.pending = expected;
        real.pending = batch;
      } else {
        // An empty look moves the snapshot on, and settles nothing.
        real.stored = { ...real.stored!, cursor: batch.next };
        mine.cursor = expected.next;
        mine.pending = null;
      }
    },
  );

const store = (holder: number): Command =>
  command(
    `${HOLDERS[holder]} stores`,
    (model) => model.holders[holder]!.token !== null && model.holders[holder]!.pending !== null,
    async (model, { pool, lane, holders }) => {
      const mine = model.holders[holder]!;
      const real = holders[holder]!;
      const cursor = real.pending!.next;
      const next: StoredCursor = { cursor, token: mine.token!, batch: mine.batch + 1, delivered: 0 };
      const outcome = await storeCursor(pool, lane, next);
      if (mine.token !== model.lease.token) {
        expect(outcome).toEqual({ advanced: false, reason: 'fenced' });
        return;
      }
      // Past its deadline too, for as long as nobody has taken over.
      expect(outcome).toEqual({ advanced: true });
      model.stored = mine.pending!.next;
      Object.assign(mine, { cursor: mine.pending!.next, batch: mine.batch + 1, pending: null });
      Object.assign(real, { stored: next, pending: undefined });
    },
  );

/** Only what its own stored cursor made obsolete: until it has stored one, its predecessor's is in force. */
const prune = (holder: number): Command =>
  command(
    `${HOLDERS[holder]} prunes`,
    (model) => model.holders[holder]!.token !== null && model.holders[holder]!.batch > 0,
    async (model, { pool, lane, holders }) => {
      await pruneCursors(pool, lane, holders[holder]!.stored!);
      expect((await loadCursor(pool, lane))?.cursor.position).toBe(model.stored.position);
    },
  );

const writer = fc.nat(WRITERS - 1);
const holder = fc.nat(HOLDERS.length - 1);
const few = fc.integer({ min: 1, max: 4 });

/** The weights of what happens: most leases last for a few batches, most batches are stored. */
const allCommands: readonly (readonly [weight: number, fc.Arbitrary<Command>])[] = [
  [2, writer.map(begin)],
  [8, fc.tuple(writer, fc.nat(KEYS - 1), few).map((given) => emit(...given))],
  [4, writer.map((n) => end(n, 'commit'))],
  [1, writer.map((n) => end(n, 'rollback'))],
  [1, writer.map(savepoint)],
  [1, writer.map(rollbackTo)],
  [3, holder.map(acquire)],
  [1, fc.constant(null).map(lose)],
  [1, holder.map(release)],
  [8, fc.tuple(holder, few).map((given) => read(...given))],
  [8, holder.map(store)],
  [1, holder.map(prune)],
];

const scripts = fc.commands(
  allCommands.flatMap(([weight, arbitrary]) => Array.from({ length: weight }, () => arbitrary)),
  { maxCommands: 150, size: 'max' },
);

/** Runs the commands, then ends every transaction, reads to the end, and looks at all that was delivered. */
async function play(commands: Iterable<Command>, readThrough: Queryable): Promise<void> {
  const { pool } = database;
  const lane = { group: `g-${crypto.randomUUID()}`, lane: 0 };
  await registerGroup(pool, lane.group, 'end');
  const start = (await loadCursor(pool, lane))!;
  const writers: PoolClient[] = [];
  for (let n = 0; n < WRITERS; n += 1) writers.push(await pool.connect());
  const holders = HOLDERS.map((): RealHolder => ({ stored: undefined, pending: undefined }));
  const model = logModel(WRITERS, HOLDERS.length, start.cursor.position);
  const real: RealLog = { pool, readThrough, lane, writers, holders };
  const doNow = async (next: Command): Promise<void> => {
    if (next.check(model)) await next.run(model, real);
  };
  try {
    await fc.asyncModelRun(() => ({ model, real }), commands);
    for (let n = 0; n < WRITERS; n += 1) await doNow(end(n, 'commit'));
    await doNow(lose());
    await doNow(acquire(0));
    for (let before = -1; before < model.delivered.length; ) {
      before = model.delivered.length;
      await doNow(read(0, 3));
      await doNow(store(0));
    }
    const first = [...new Set(model.delivered)];
    const committed = model.committed.map(({ label }) => label);
    expect(faults(committed, first)).toEqual([]);
  } finally {
    for (const client of writers) {
      if (client.getTransactionStatus() !== 'I') await client.query('rollback');
      client.release();
    }
  }
}

test('cursor and lease do what a model of them does, whatever writers and two holders do', async () => {
  await fc.assert(
    fc.asyncProperty(scripts, async (commands) => play(commands, database.pool)),
    { numRuns: 300, interruptAfterTimeLimit: 8_000, markInterruptAsFailure: false, endOnFailure: false },
  );
});

test('the model notices a reader without late events, and says so in a few commands', async () => {
  const part = ') found\n';
  let replaced = 0;
  const query = async (config: { text: string }): Promise<unknown> => {
    if (config.text.includes(part)) replaced += 1;
    return await database.pool.query({ ...config, text: config.text.replace(part, ') found where false\n') });
  };
  const result = await fc.check(
    fc.asyncProperty(scripts, async (commands) => play(commands, { query } as unknown as Queryable)),
    // Some runs of 300 have not met a late event; by the clock, all have.
    { numRuns: 5_000, interruptAfterTimeLimit: 12_000 },
  );
  expect(replaced).toBeGreaterThan(0);
  expect(result.failed).toBe(true);
  const story = fc.stringify(result.counterexample);
  expect(story).toContain('asks for the lease');
  expect(story).toContain('emits');
});
