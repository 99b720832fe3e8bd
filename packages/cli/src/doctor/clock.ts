import type { Check } from './check.ts';
import { ok, warn } from './finding.ts';

/** One row: the server's clock, in ms since 1970. */
const NOW = `select (extract(epoch from clock_timestamp()) * 1000)::float8 as now`;

const TOLERATED_MS = 1_000;

export const clock: Check = {
  name: 'clock',
  needs: 'connection',
  async run({ pool }) {
    // Once before, so that connecting is not part of the way there.
    await pool.query(NOW);
    const sentAtMs = Date.now();
    const { rows } = await pool.query<{ now: number }>(NOW);
    const roundTripMs = Date.now() - sentAtMs;
    const differenceMs = Math.abs((rows[0]?.now ?? 0) - (sentAtMs + roundTripMs / 2));
    return differenceMs <= TOLERATED_MS + roundTripMs / 2
      ? ok('this clock and that of the database agree')
      : warn(
          `this clock and that of the database differ by ${(differenceMs / 1_000).toFixed(1)} s: leases do not mind, but times in logs cannot be compared`,
          'synchronise both machines with NTP',
        );
  },
};
