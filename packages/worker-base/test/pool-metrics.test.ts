// What is exported of a real pool while connections of it are taken and given back.

import { createRegistry } from '@pulsebox/loop';
import { createPool } from '@pulsebox/postgres';
import { documentedFamilies, eventually, servedFamilies } from '@pulsebox/test-support';
import { poolMetrics } from '@pulsebox/worker-base';
import { expect, inject, onTestFinished, test } from 'vitest';

test('docs/metrics.md lists the gauges, which say who has a connection and who waits for one', async () => {
  const registry = createRegistry();
  const pool = createPool({
    connection: { connectionString: inject('serverUrl') },
    max: 2,
    onIdleError: () => undefined,
  });
  onTestFinished(() => pool.end());
  poolMetrics(registry, pool);
  const shown = async (): Promise<string[]> =>
    [...(await registry.metrics()).matchAll(/^postgres_pool_(.+)$/gm)].map(([, line = '']) => line);

  const first = await pool.connect();
  const second = await pool.connect();
  const third = pool.connect();
  expect(await shown()).toEqual([
    'connections{state="busy"} 2',
    'connections{state="idle"} 0',
    'limit 2',
    'waiting 1',
  ]);
  first.release();
  (await third).release();
  second.release();
  await eventually(async () => (await shown()).includes('connections{state="idle"} 2'));
  expect(await shown()).toContain('waiting 0');
  expect(documentedFamilies('packages/worker-base, its pool')).toEqual(await servedFamilies(registry));
});
