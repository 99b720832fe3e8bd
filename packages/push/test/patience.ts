// Tests of push share machines that are busy with others: whoever imports this has time. It only matters when something
// never comes.

import { eventually as awaited } from '@pulsebox/test-support';
import type { EventuallyOptions } from '@pulsebox/test-support';
import { vi } from 'vitest';

vi.setConfig({ testTimeout: 300_000 });

/** As that of the tests' support, with more time. */
export function eventually<T>(
  look: Parameters<typeof awaited<T>>[0],
  options: EventuallyOptions = {},
): Promise<T> {
  return awaited(look, { withinMs: 120_000, ...options });
}
