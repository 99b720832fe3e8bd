// Finds a contestant by the name of its file.

import type { Contestant } from '../harness/contestant.ts';

export async function contestantOf(name: string): Promise<Contestant> {
  const module = (await import(`../contestants/${name}.ts`)) as { readonly contestant: Contestant };
  return module.contestant;
}
