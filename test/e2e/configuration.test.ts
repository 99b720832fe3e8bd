// docs/configuration.md and the code name the same variables, with the same defaults.

import { readFile } from 'node:fs/promises';
import { wholeEnvironment } from '@pulsebox/loop';
import type { EnvironmentSchema } from '@pulsebox/loop';
import { expect, test } from 'vitest';
import { pushWorkerCommand } from '../../apps/push-worker/src/command.ts';
import { watchWorkerCommand } from '../../apps/watch-worker/src/command.ts';
import { workerCommand } from '../../apps/worker/src/command.ts';
import { cliVariables } from '../../packages/cli/src/cli-variables.ts';

test('docs/configuration.md lists every variable that is read, with its default, and no other', async () => {
  const text = await readFile(new URL('../../docs/configuration.md', import.meta.url), 'utf8');
  const documented = new Map(
    [...text.matchAll(/^\| `([A-Z0-9_]+)` \| (?:`([^`]*)`|(secret|required|–)) \| .+ \|$/gm)].map(
      ([, name = '', value]) => [name, value],
    ),
  );
  const read: EnvironmentSchema = {
    ...cliVariables,
    ...wholeEnvironment(workerCommand),
    ...wholeEnvironment(pushWorkerCommand),
    ...wholeEnvironment(watchWorkerCommand),
  };
  expect([...documented.keys()].toSorted()).toEqual(Object.keys(read).toSorted());
  for (const [name, variable] of Object.entries(read)) {
    expect(documented.get(name), name).toBe(variable.secret ? undefined : variable.defaultText);
  }
});
