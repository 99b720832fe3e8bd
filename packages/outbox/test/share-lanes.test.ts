import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { LaneHolding } from '../src/lease/lane-holders.ts';
import { stepOf } from '../src/lease/share-lanes.ts';

const NONE: ReadonlySet<number> = new Set();

/** Letters are holders, a dot is a lane that nobody has; `ab`: a has it and b wants it. */
function holdings(...of: readonly string[]): LaneHolding[] {
  return of.map((text, lane) => {
    const [holder = '.', wantedBy = null] = text;
    return {
      lane,
      holder: holder === '.' ? null : holder,
      wantedBy,
      expiresInMs: holder === '.' ? 0 : 1_000,
    };
  });
}

const look = (me: string, of: readonly LaneHolding[], random = 0): ReturnType<typeof stepOf> =>
  stepOf(of, { me, leftLong: NONE, random });

test('one worker takes all that is free', () => {
  expect(look('a', holdings('.', '.', '.'))).toEqual({ take: [0, 1, 2], left: [], ask: undefined });
});

test('with another there it takes its share, and leaves the rest to the other for a while', () => {
  const seen = holdings('b', '.', '.', '.');
  expect(look('a', seen)).toEqual({ take: [1, 2], left: [3], ask: undefined });
  expect(stepOf(seen, { me: 'a', leftLong: new Set([3]), random: 0 }).take).toEqual([1, 2, 3]);
});

test('with nothing free it asks one who has two more, and nobody else', () => {
  expect(look('a', holdings('b', 'b', 'b', 'b')).ask).toBe(0);
  expect(look('a', holdings('b', 'b', 'b', 'b'), 0.99).ask).toBe(3);
  expect(look('a', holdings('a', 'b', 'b')).ask).toBeUndefined();
  expect(look('a', holdings('b')).ask).toBeUndefined();
});

test('a lane that somebody asked for is as good as handed over', () => {
  expect(look('a', holdings('bc', 'b')).ask).toBeUndefined();
  expect(look('a', holdings('ba', 'b', 'b')).ask).toBeUndefined();
  expect(look('a', holdings('bc', 'b', 'b')).ask).toBe(1);
});

test('a lane kept for another is not free; one kept for itself is', () => {
  const kept = (by: string): LaneHolding => ({ lane: 0, holder: null, wantedBy: by, expiresInMs: 500 });
  expect(look('a', [kept('b')])).toEqual({ take: [], left: [], ask: undefined });
  expect(look('a', [kept('a')]).take).toEqual([0]);
});

test('whoever comes and goes, steps come to an end, and then nobody has two more than another', () => {
  const worker = fc.constantFrom('a', 'b', 'c', 'd');
  fc.assert(
    fc.property(
      fc.array(fc.oneof(worker, fc.constant('.')), { minLength: 1, maxLength: 12 }),
      fc.uniqueArray(worker, { minLength: 1 }),
      fc.infiniteStream(fc.double({ min: 0, max: 0.999, noNaN: true })),
      (lanes, alive, randoms) => {
        const present: readonly string[] = alive;
        const owners: string[] = lanes.map((owner) => (present.includes(owner) ? owner : '.'));
        let quiet = 0;
        for (let turn = 0; quiet < 2 * alive.length; turn += 1) {
          expect(turn).toBeLessThan(200);
          const me = alive[turn % alive.length]!;
          const seen = holdings(...owners);
          const free = new Set(owners.flatMap((owner, lane) => (owner === '.' ? [lane] : [])));
          // Every other round, what is left has been left for long.
          const leftLong = turn % (2 * alive.length) < alive.length ? NONE : free;
          const { take, ask } = stepOf(seen, { me, leftLong, random: randoms.next().value! });
          for (const lane of take) owners[lane] = me;
          if (ask !== undefined) owners[ask] = me;
          quiet = take.length === 0 && ask === undefined ? quiet + 1 : 0;
        }
        const shares = alive.map((one) => owners.filter((owner) => owner === one).length);
        expect(owners).not.toContain('.');
        expect(Math.max(...shares) - Math.min(...shares)).toBeLessThanOrEqual(1);
      },
    ),
  );
});
