// The short form of `npm run torture`; the long one is run by hand.

import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createTestDatabase } from '@pulsebox/test-support';
import { describe, expect, inject, onTestFinished, test } from 'vitest';
import type { CheckName } from '../torture/checker.ts';
import { mutate, mutants } from '../torture/mutants.ts';
import type { MutantName } from '../torture/mutants.ts';
import { loadFor } from '../torture/plan.ts';
import type { TortureOptions } from '../torture/plan.ts';
import { startTortureServer } from '../torture/server.ts';
import { renderReport } from '../torture/summary.ts';
import type { Report } from '../torture/summary.ts';
import { torture } from '../torture/torture.ts';

const SEED = 20_260_101;

describe('under torture', () => {
  test('everything is delivered, in order, and again only where a worker died or a batch failed', async () => {
    // A twentieth of the usual large transaction, in small batches: two groups deliver it, on whatever machine this is, and
    // whoever follows two that died goes through two batches event by event.
    const load = {
      ...loadFor(undefined),
      failing: 0.05,
      largeTransaction: 5_000,
      batchSize: 50,
      durationMs: 7_000,
    };
    const report = await tortured(load, true);

    // The report itself, so that a failure shows the offenders.
    expect(renderReport(report)).toContain('PASSED');
    expect(report.passed).toBe(true);
    // It was torture.
    const { figures } = report;
    expect(figures.largest).toBe(5_000);
    expect(figures.late).toBeGreaterThan(0);
    expect(Object.keys(figures.mishaps)).toEqual(
      expect.arrayContaining([
        'kill',
        'freeze',
        'crash',
        'network away',
        'scale',
        'lanes',
        'killer event',
        'hanging event',
        'sink gone',
        'clock',
      ]),
    );
    expect(figures.refused).toBeGreaterThan(0);
    expect(figures.ranOut).toBeGreaterThan(0);
    expect(figures.lanes).toBeGreaterThan(1);
  });

  test('it would notice the loss of late events above the xmax of the snapshot', async () => {
    expect(await caughtAs('no-range')).toContain('lost');
  });

  test('it would notice events delivered in the order of their transactions', async () => {
    expect(await caughtAs('xid-order')).toContain('inverted');
  });

  test('it would notice events delivered before one of their key that is parked', async () => {
    expect(await caughtAs('held-keys-let-through')).toContain('inverted');
  });

  test('a mutant whose text is gone is an error, not a healthy worker', () => {
    for (const edits of Object.values(mutants['no-range'].edits))
      expect(() => mutate('export const LATE = ``;', edits)).toThrow(/exactly once/);
  });
});

/** What a run of seconds finds; a longer one where a busy machine has let too little happen in it. */
async function caughtAs(mutant: MutantName): Promise<CheckName[]> {
  for (const durationMs of [1_500, 6_000]) {
    const { caughtUp, checks } = await tortured({ ...loadFor(mutant), durationMs });
    expect(caughtUp).toBe(true);
    const failures = checks.filter(({ count }) => count > 0).map(({ name }) => name);
    if (failures.length > 0) return failures;
  }
  return [];
}

/** On the server of the test run, or on one of its own that can be killed. */
async function tortured(
  options: Omit<TortureOptions, 'seed' | 'leaseTtlMs' | 'deadlineMs'>,
  crashes = false,
): Promise<Report> {
  const folder = await mkdtemp(join(tmpdir(), 'pulsebox-torture-'));
  // Under root the server runs as another account, which must be able to enter.
  await chmod(folder, 0o755);
  const server = crashes ? await startTortureServer(folder) : undefined;
  const database = await createTestDatabase(server?.url ?? inject('serverUrl'), { migrated: false });
  // A test that is given up must not leave workers behind.
  const givenUp = new AbortController();
  onTestFinished(async () => {
    givenUp.abort();
    await database.drop();
    await server?.remove();
    await rm(folder, { recursive: true, force: true });
  });
  return await torture(
    { seed: SEED, leaseTtlMs: 1_500, deadlineMs: 1_500, ...options },
    { databaseUrl: database.url, server, logFolder: folder, signal: givenUp.signal },
  );
}
