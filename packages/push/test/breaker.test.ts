import { expect, test } from 'vitest';
import { createBreaker } from '../src/breaker.ts';
import type { Breaker } from '../src/breaker.ts';

const ORIGIN = 'https://push.example';

function breaker(): { readonly it: Breaker; readonly changes: boolean[]; pass(ms: number): void } {
  let now = 0;
  const changes: boolean[] = [];
  const it = createBreaker({
    threshold: 3,
    firstMs: 1_000,
    longestMs: 4_000,
    now: () => now,
    random: () => 1,
    onChange: (_origin, open) => changes.push(open),
  });
  return { it, changes, pass: (ms) => (now += ms) };
}

function fail(it: Breaker, times: number): void {
  for (let n = 0; n < times; n += 1) {
    it.admit(ORIGIN);
    it.failed(ORIGIN);
  }
}

test('opens after failures in a row, and holds back only its own service', () => {
  const { it, changes } = breaker();
  fail(it, 2);
  it.succeeded(ORIGIN);
  fail(it, 2);
  expect(it.admit(ORIGIN)).toEqual({ admitted: true });
  it.failed(ORIGIN);
  expect(it.admit(ORIGIN)).toEqual({ admitted: false, retryInMs: 1_000 });
  expect(it.admit('https://other.example')).toEqual({ admitted: true });
  expect(changes).toEqual([true]);
});

test('lets one request through to see whether the service is back', () => {
  const { it, changes, pass } = breaker();
  fail(it, 3);
  pass(1_000);
  expect(it.admit(ORIGIN)).toEqual({ admitted: true });
  expect(it.admit(ORIGIN)).toMatchObject({ admitted: false });
  it.succeeded(ORIGIN);
  expect(it.admit(ORIGIN)).toEqual({ admitted: true });
  expect(changes).toEqual([true, false]);
});

test('waits longer each time, up to a limit; what was under way when it opened says nothing new', () => {
  const { it, pass } = breaker();
  fail(it, 3);
  it.failed(ORIGIN);
  it.failed(ORIGIN);
  for (const waitMs of [1_000, 2_000, 4_000, 4_000]) {
    expect(it.admit(ORIGIN)).toEqual({ admitted: false, retryInMs: waitMs });
    pass(waitMs);
    expect(it.admit(ORIGIN)).toEqual({ admitted: true });
    it.failed(ORIGIN);
  }
});

test('waits as long as the service asks, within the limit', () => {
  const { it } = breaker();
  fail(it, 2);
  it.failed(ORIGIN, { retryAfterMs: 3_000 });
  expect(it.admit(ORIGIN)).toEqual({ admitted: false, retryInMs: 3_000 });
});

test('a request that was given up leaves the next one to find out', () => {
  const { it, pass } = breaker();
  fail(it, 3);
  pass(1_000);
  it.admit(ORIGIN);
  it.abandoned(ORIGIN);
  expect(it.admit(ORIGIN)).toEqual({ admitted: true });
});

test('origins that strangers make up do not pile up', () => {
  const open = new Set<string>();
  const it = createBreaker({
    threshold: 1,
    onChange: (origin, isOpen) => (isOpen ? open.add(origin) : open.delete(origin)),
  });
  for (let n = 0; n < 1_500; n += 1) it.failed(`https://${n}.example`);
  expect(open.size).toBe(1_000);
  expect(it.admit('https://0.example')).toEqual({ admitted: true });
});

test('refusals of one user do not close a service to everybody; those of many do, and so do its own failures', () => {
  const { it, changes } = breaker();
  for (let n = 0; n < 50; n += 1) it.failed(ORIGIN, { refused: 'mallory' });
  expect(it.admit(ORIGIN)).toEqual({ admitted: true });
  it.failed(ORIGIN, { refused: 'ann' });
  it.failed(ORIGIN, { refused: 'bob' });
  expect(it.admit(ORIGIN)).toMatchObject({ admitted: false });
  fail(it, 3);
  expect(changes).toEqual([true]);
});
