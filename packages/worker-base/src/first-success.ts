// A condition that must hold once before loops turn, asked for until it does.

import type { Loop } from '@pulsebox/loop';

/**
 * Wraps loops so that each of their ticks first waits for `condition` to have succeeded. While it fails, ticks fail
 * with its error: the loops back off, readiness is off, and the log says why.
 */
export function afterFirstSuccess(condition: () => Promise<void>): (loop: Loop) => Loop {
  let asked: Promise<void> | undefined;

  function holds(): Promise<void> {
    asked ??= condition().catch((error: unknown) => {
      asked = undefined;
      throw error;
    });
    return asked;
  }

  return (loop) => ({
    ...loop,
    async tick(context): ReturnType<Loop['tick']> {
      await holds();
      return await loop.tick(context);
    },
  });
}
