// The short form of `npm run torture`; the long one is run by hand.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createTestDatabase } from '@pulsebox/test-support';
import { describe, expect, inject, onTestFinished, test } from 'vitest';
import type { CheckName } from '../torture/checker.ts';
import { mutate, mutants } from '../torture/mutants.ts';
import { loadFor } from '../torture/plan.ts';
import type { TortureOptions } from '../torture/plan.ts';
import { renderReport } from '../torture/summary.ts';
import type { Report } from '../torture/summary.ts';
import { torture } from '../torture/torture.ts';

const SEED = 20_260_101;

describe('under torture', () => {
  test('everything is delivered, in order, and again only where a worker died', async () => {
    const report = await tortured({ ...loadFor(undefined), batchSize: 200, durationMs: 7_000 });

    // The report itself, so that a failure shows the offenders.
    expect(renderReport(report)).toContain('PASSED');
    expect(report.passed).toBe(true);
    // It was torture.
    const { figures } = report;
    expect(figures.largest).toBe(100_000);
    expect(figures.late).toBeGreaterThan(0);
    expect(figures.kills).toBeGreaterThan(0);
    expect(figures.freezes).toBeGreaterThan(0);
    expect(figures.ranOut).toBeGreaterThan(0);
  }, 60_000);

  test('it would notice the loss of late events above the xmax of the snapshot', async () => {
    const report = await tortured({ ...loadFor('no-range'), durationMs: 2_000 });

    expect(report.caughtUp).toBe(true);
    expect(failures(report)).toEqual(['lost']);
  });

  test('it would notice events delivered in the order of their transactions', async () => {
    const report = await tortured({ ...loadFor('xid-order'), durationMs: 2_000 });

    expect(report.caughtUp).toBe(true);
    expect(failures(report)).toEqual(['inverted']);
  });

  test('a mutant whose text is gone is an error, not a healthy worker', () => {
    expect(() => mutate('export const READ_BATCH = ``;', mutants['no-range'])).toThrow(/exactly once/);
  });
});

function failures({ checks }: Report): CheckName[] {
  return checks.filter(({ count }) => count > 0).map(({ name }) => name);
}

async function tortured(options: Omit<TortureOptions, 'seed' | 'leaseTtlMs'>): Promise<Report> {
  const database = await createTestDatabase(inject('serverUrl'), { migrated: false });
  const logFolder = await mkdtemp(join(tmpdir(), 'pulsebox-torture-'));
  // A test that is given up must not leave workers behind.
  const givenUp = new AbortController();
  onTestFinished(async () => {
    givenUp.abort();
    await database.drop();
    await rm(logFolder, { recursive: true, force: true });
  });
  return await torture(
    { seed: SEED, leaseTtlMs: 1_500, ...options },
    { databaseUrl: database.url, logFolder, signal: givenUp.signal },
  );
}
