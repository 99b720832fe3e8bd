// Loaded into a worker before anything else (`--import`): puts the mutant named in TORTURE_MUTANT into the modules.

import { registerHooks } from 'node:module';
import { mutants, mutate } from './mutants.ts';
import type { MutantName } from './mutants.ts';

const mutant = mutants[process.env['TORTURE_MUTANT'] as MutantName];

registerHooks({
  load(url, context, nextLoad) {
    const loaded = nextLoad(url, context);
    const edits = Object.entries(mutant.edits).find(([module]) => url.endsWith(module))?.[1];
    if (edits === undefined) return loaded;
    if (loaded.source === null || loaded.source === undefined)
      throw new Error(`${url} was loaded without its source`);
    const source =
      typeof loaded.source === 'string' ? loaded.source : new TextDecoder().decode(loaded.source);
    return { ...loaded, source: mutate(source, edits) };
  },
});
