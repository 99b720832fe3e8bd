// Random numbers that a seed repeats: the plan of a run is the same for the same seed, the timing is the machine's.

export interface Random {
  /** From `low` to `high`, both included. */
  integer(low: number, high: number): number;
  chance(probability: number): boolean;
  pick<T>(choices: readonly T[]): T;
  /** A generator of its own, so that one writer's pace does not change what another does. */
  fork(salt: number): Random;
}

/** mulberry32, a 32-bit generator: small, and random enough to choose what goes wrong next. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;

  function next(): number {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  const integer = (low: number, high: number): number => low + Math.floor(next() * (high - low + 1));
  return {
    integer,
    chance: (probability) => next() < probability,
    pick: <T>(choices: readonly T[]): T => {
      const choice = choices[integer(0, choices.length - 1)];
      if (choice === undefined) throw new Error('there is nothing to choose from');
      return choice;
    },
    fork: (salt) => seededRandom(Math.imul(seed ^ 0x9e3779b9, 2 * salt + 1) + salt),
  };
}
