// The soak's witnesses: what they take for lost, for twofold and for late.

import { describe, expect, test } from 'vitest';
import { Journeys } from './journeys.ts';
import { LogWitness } from './log-witness.ts';

describe('a journey', () => {
  test('is under way until its version, or a later one, has arrived', () => {
    const journeys = new Journeys();
    for (const version of [1, 2, 3]) journeys.begin('item', { version }).committed();
    journeys.arrived('item', 2);
    expect(journeys.underWay).toBe(1);
    expect(journeys.take()).toHaveLength(2);
    expect(journeys.take()).toEqual([]);
    journeys.arrived('item', 3);
    expect(journeys.underWay).toBe(0);
    expect(journeys.unasked).toBe(0);
  });

  test('took no time when it arrived before its writer knew of the commit', () => {
    const journeys = new Journeys();
    const journey = journeys.begin('push 1');
    journeys.arrived('push 1');
    expect(journeys.underWay).toBe(1);
    journey.committed();
    expect(journeys.take()).toEqual([0]);
  });

  test('counts what comes again, and what nobody sent', () => {
    const journeys = new Journeys();
    journeys.begin('push 1').committed();
    for (const id of ['push 1', 'push 1', 'push 2']) journeys.arrived(id);
    expect(journeys.unasked).toBe(2);
  });

  test('ends with a deletion that the sink was told of, and one before it that it was not', () => {
    const journeys = new Journeys();
    journeys.begin('item', { version: 1 }).committed();
    journeys.begin('item', { version: 2, gone: true }).committed();
    journeys.begin('item', { version: 3 }).committed();
    journeys.gone('item');
    expect(journeys.underWay).toBe(1);
    journeys.arrived('item', 3);
    expect(journeys.underWay).toBe(0);
  });

  test('is none when its write failed', () => {
    const journeys = new Journeys();
    journeys.begin('item').abandoned();
    expect(journeys.underWay).toBe(0);
  });
});

describe('the witness of the log', () => {
  test('sees every event once, late ones included', () => {
    const witness = new LogWitness();
    for (const position of [1, 2, 5, 4, 6]) witness.saw(position, '', 1);
    expect(witness.missing).toEqual([3]);
    expect(witness).toMatchObject({ twofold: 0, inverted: 0, lost: 0, published: 5 });
    expect(witness.take()).toHaveLength(5);
  });

  test('takes a number that never was in the log for one that was rolled back, and one that was for lost', () => {
    const witness = new LogWitness();
    for (const position of [1, 4]) witness.saw(position, '', 1);
    witness.areInLog([2]);
    expect(witness.lost).toBe(1);
    witness.saw(2, '', 1);
    expect(witness).toMatchObject({ lost: 0, twofold: 0, missing: [3] });
  });

  test('counts an event that comes again, and one that a later one of its key has overtaken', () => {
    const witness = new LogWitness();
    witness.saw(1, 'item:1', 1);
    witness.saw(1, 'item:1', 1);
    witness.saw(3, 'item:1', 1);
    witness.saw(2, 'item:1', 1);
    expect(witness).toMatchObject({ twofold: 1, inverted: 1 });
  });
});
