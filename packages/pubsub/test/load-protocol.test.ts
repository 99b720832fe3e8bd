// What the first call to Pub/Sub costs a process, before its loops turn.

import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

/** In a process of its own: here another test may have read it before. */
const PROGRAM = `
  import { loadProtocol } from '@pulsebox/pubsub';
  const cost = () => { const { user, system } = process.cpuUsage(); return (user + system) / 1_000; };
  const before = cost();
  await loadProtocol();
  const first = cost() - before;
  await loadProtocol();
  console.log(JSON.stringify({ first, second: cost() - before - first }));`;

test('the description of the protocol is read once for all clients, and asks nothing of the network', async () => {
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['--conditions=source', '--input-type=module', '--eval', PROGRAM],
    { cwd: fileURLToPath(new URL('..', import.meta.url)) },
  );
  const { first, second } = JSON.parse(stdout) as { readonly first: number; readonly second: number };
  // Processor time, whatever else the machine does.
  expect(second).toBeLessThan(first / 2);
});
