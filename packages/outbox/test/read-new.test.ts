// When the short way may be taken: only where the cursor itself rules late events out.

import { expect, test } from 'vitest';
import { beginningOfLog } from '../src/read/cursor.ts';
import { nothingCanBeLate } from '../src/read/read-new.ts';

const caughtUp = { position: 9, snapshot: '760:760:', ceiling: '760', frozen: null };

test('nothing is late before the first event', () => {
  expect(nothingCanBeLate(beginningOfLog)).toBe(true);
});

test('nothing is late when no transaction was open, and none began before the ceiling', () => {
  expect(nothingCanBeLate(caughtUp)).toBe(true);
  expect(nothingCanBeLate({ ...caughtUp, snapshot: '770:770:' })).toBe(true);
});

test('a transaction that was open may commit late', () => {
  expect(nothingCanBeLate({ ...caughtUp, snapshot: '758:760:758' })).toBe(false);
});

test('a transaction at or above xmax and below the ceiling may commit late', () => {
  expect(nothingCanBeLate({ ...caughtUp, ceiling: '761' })).toBe(false);
  // Compared as numbers: as text, 1000 is below 999.
  expect(nothingCanBeLate({ ...caughtUp, snapshot: '999:999:', ceiling: '1000' })).toBe(false);
});

test('late events that are being paged are not over', () => {
  const frozen = { snapshot: '761:761:', ceiling: '761', position: 3 };
  expect(nothingCanBeLate({ ...caughtUp, frozen })).toBe(false);
});
