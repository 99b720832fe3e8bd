// Handlers that fail as often as a test wants.

import type { RunOptions } from './relay-runner.ts';

/** Fails once for each number that an event's label has left, and then adds what it was given to `delivered`. */
export function failingSoOften(
  failures: Readonly<Record<string, number>>,
  delivered: string[],
): NonNullable<RunOptions['handler']> {
  const left = new Map(Object.entries(failures));
  return (given) => {
    for (const label of given) {
      const times = left.get(label) ?? 0;
      if (times === 0) continue;
      left.set(label, times - 1);
      throw new Error('not yet');
    }
    delivered.push(...given);
  };
}
