import { SinkError } from '@pulsebox/outbox';
import pg from 'pg';
import { expect, test } from 'vitest';
import { inParts } from '../src/in-parts.ts';
import { createPace } from '../src/pace.ts';

const never = { signal: new AbortController().signal, progress: () => undefined };
const quick = { left: [], databaseMs: 1 };

function timedOut(): Error {
  return Object.assign(new pg.DatabaseError('canceling statement', 0, 'error'), { code: '57014' });
}

function ids(count: number): string[] {
  return Array.from({ length: count }, (_, n) => `id ${n}`);
}

test('halves after what was slow or given up, doubles while it is quick, and stays between 1 and the most', () => {
  const pace = createPace(100);
  pace.took(1_500, 100);
  expect(pace.size).toBe(50);
  pace.failed(50);
  expect(pace.size).toBe(25);
  pace.took(500, 25);
  expect(pace.size).toBe(25);
  // A part that was small anyway proves nothing.
  pace.took(1, 3);
  expect(pace.size).toBe(25);
  for (let n = 0; n < 5; n += 1) pace.took(1, pace.size);
  expect(pace.size).toBe(100);
  for (let n = 0; n < 10; n += 1) pace.failed(pace.size);
  expect(pace.size).toBe(1);
});

test('what a part leaves for want of room comes first in the next one', async () => {
  const parts: string[][] = [];
  await inParts(ids(5), createPace(4), never, async (part) => {
    parts.push([...part]);
    return { left: part.slice(2), databaseMs: 1 };
  });
  expect(parts).toEqual([['id 0', 'id 1', 'id 2', 'id 3'], ['id 2', 'id 3', 'id 4'], ['id 4']]);
});

test('remembers from one batch to the next how much the database can bear', async () => {
  const pace = createPace(64);
  const tried: number[] = [];
  const work = async (part: readonly string[]) => {
    tried.push(part.length);
    if (part.length > 20) throw timedOut();
    return { left: [], databaseMs: 500 };
  };
  await inParts(ids(32), pace, never, work);
  expect(tried).toEqual([32, 16, 16]);
  await inParts(ids(32), pace, never, work);
  expect(tried.slice(3)).toEqual([16, 16]);
});

test('comes again in smaller parts when it was aborted, however short the lease is', async () => {
  const pace = createPace(64);
  const aborting = new AbortController();
  const work = async () => {
    aborting.abort(new Error('the lease is lost'));
    throw aborting.signal.reason;
  };
  await expect(inParts(ids(64), pace, { ...never, signal: aborting.signal }, work)).rejects.toThrow(
    'the lease is lost',
  );
  expect(pace.size).toBe(32);
});

test('a sink that fails does not make the parts smaller', async () => {
  const pace = createPace(64);
  const refuse = () => Promise.reject(new Error('refused'));
  await expect(inParts(ids(64), pace, never, refuse)).rejects.toThrow('refused');
  expect(pace.size).toBe(64);
});

test('passes over single rows that take too long, but not when three in a row do and nothing else gets through', async () => {
  const slowOnes = new Set(['id 2', 'id 5']);
  const slow = await inParts(ids(8), createPace(8), never, async (part) => {
    if (part.some((id) => slowOnes.has(id))) throw timedOut();
    return quick;
  });
  expect(slow).toEqual(['id 2', 'id 5']);

  let tries = 0;
  const stuck = inParts(ids(8), createPace(1), never, async () => {
    tries += 1;
    throw timedOut();
  });
  await expect(stuck).rejects.toBeInstanceOf(SinkError);
  expect(tries).toBe(3);
});
