// Random interleavings of writers and one reader, and what must hold of what the reader got.

import type { Queryable } from '@pulsebox/postgres';
import fc from 'fast-check';
import type { Pool } from 'pg';
import { registerGroup } from '../src/group/consumer-group.ts';
import { loadCursor } from '../src/lease/store-cursor.ts';
import { logReader } from './log-reader.ts';
import { keyOf, openWriter } from './writer.ts';
import type { Writer } from './writer.ts';

const WRITERS = 4;
const KEYS = 5;

type Kind = 'touch' | 'emit' | 'commit' | 'rollback' | 'savepoint' | 'rollback-to' | 'release' | 'read';

export interface Step {
  readonly kind: Kind;
  readonly writer: number;
  readonly key: number;
  /** Events of an emit, or the limit of a read. */
  readonly count: number;
}

export const interleavings: fc.Arbitrary<Step[]> = fc.array(
  fc.record({
    kind: fc.oneof(
      { weight: 3, arbitrary: fc.constant<Kind>('touch') },
      { weight: 9, arbitrary: fc.constant<Kind>('emit') },
      { weight: 4, arbitrary: fc.constant<Kind>('commit') },
      { weight: 1, arbitrary: fc.constantFrom<Kind>('rollback', 'savepoint', 'rollback-to', 'release') },
      { weight: 4, arbitrary: fc.constant<Kind>('read') },
    ),
    writer: fc.nat(WRITERS - 1),
    key: fc.nat(KEYS - 1),
    count: fc.integer({ min: 1, max: 5 }),
  }),
  { minLength: 20, maxLength: 70 },
);

interface WriterState {
  readonly writer: Writer;
  /** Labels that a commit would publish, with the savepoints between them. */
  written: string[];
  savepoints: number[];
}

/**
 * Takes the steps one after the other against the real log, reads to its end, and says what went wrong: nothing is
 * the right answer. A writer emits for a key only while no other has it locked, as producers do.
 *
 * @param readThrough what the reader's queries go through; a test of this test breaks them here
 * @param characters of JSON that a batch holds. Default: as of a relay.
 */
export async function faultsOf(
  pool: Pool,
  steps: readonly Step[],
  readThrough: Queryable = pool,
  characters?: number,
): Promise<string[]> {
  const group = `g-${crypto.randomUUID()}`;
  await registerGroup(pool, group, 'end');
  const reader = logReader(readThrough, (await loadCursor(pool, { group, lane: 0 }))!.cursor, characters);
  const states: WriterState[] = [];
  for (let n = 0; n < WRITERS; n += 1)
    states.push({ writer: await openWriter(pool), written: [], savepoints: [] });
  const lockedBy = new Map<string, WriterState>();
  const committed: string[] = [];
  const delivered: string[] = [];
  let emitted = 0;

  const end = async (state: WriterState, how: 'commit' | 'rollback'): Promise<void> => {
    await state.writer[how]();
    if (how === 'commit') committed.push(...state.written);
    state.written = [];
    state.savepoints = [];
    for (const [key, owner] of lockedBy) if (owner === state) lockedBy.delete(key);
  };

  const take = async ({ kind, writer, key, count }: Step): Promise<void> => {
    const state = states[writer]!;
    switch (kind) {
      case 'read':
        delivered.push(...(await reader.read(count)));
        return;
      case 'touch':
        await state.writer.touch();
        return;
      case 'emit': {
        const name = `${group}:${key}`;
        if ((lockedBy.get(name) ?? state) !== state) return;
        lockedBy.set(name, state);
        const labels = Array.from({ length: count }, () => `${name}#${(emitted += 1)}`);
        await state.writer.emit(...labels);
        state.written.push(...labels);
        return;
      }
      case 'commit':
      case 'rollback':
        await end(state, kind);
        return;
      case 'savepoint':
        await state.writer.touch();
        state.savepoints.push(state.written.length);
        await state.writer.run(`savepoint s${state.savepoints.length}`);
        return;
      case 'rollback-to':
        if (state.savepoints.length === 0) return;
        await state.writer.run(`rollback to savepoint s${state.savepoints.length}`);
        state.written.length = state.savepoints.at(-1)!;
        return;
      case 'release':
        if (state.savepoints.length === 0) return;
        await state.writer.run(`release savepoint s${state.savepoints.length}`);
        state.savepoints.pop();
        return;
    }
  };

  try {
    for (const step of steps) await take(step);
    for (const [n, state] of states.entries()) await end(state, n === 0 ? 'rollback' : 'commit');
    delivered.push(...(await reader.drain(3)));
  } finally {
    for (const { writer } of states) await writer.close();
  }
  return faults(committed, delivered);
}

/** What is wrong with a delivery. Labels of one key end in numbers that grow in the order of their writing. */
export function faults(committed: readonly string[], delivered: readonly string[]): string[] {
  const found: string[] = [];
  const expected = new Set(committed);
  const seen = new Set<string>();
  const newest = new Map<string, number>();
  for (const label of delivered) {
    if (!expected.has(label)) found.push(`never committed: ${label}`);
    if (seen.has(label)) found.push(`duplicated: ${label}`);
    seen.add(label);
    const number = Number(label.split('#')[1]);
    const before = newest.get(keyOf(label)) ?? 0;
    if (number < before) found.push(`inverted: ${label} after ${before}`);
    newest.set(keyOf(label), Math.max(number, before));
  }
  for (const label of committed) if (!seen.has(label)) found.push(`lost: ${label}`);
  return found;
}
