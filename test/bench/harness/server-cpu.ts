// How much processor time a server and its children have used, from /proc: what a contestant costs the database.

import { readdir, readFile } from 'node:fs/promises';

/** Linux counts in hundredths of a second on every platform that Node runs on. */
const TICKS_PER_SECOND = 100;

/** User and system time of the process, its living children and those that have ended; undefined without a /proc. */
export async function serverCpuSeconds(pid: number): Promise<number | undefined> {
  const entries = await readdir('/proc').catch(() => []);
  const stats = await Promise.all(entries.filter((entry) => /^\d+$/.test(entry)).map(readStat));
  const own = stats.filter((stat) => stat !== undefined && (stat.pid === pid || stat.parent === pid));
  if (own.length === 0) return undefined;
  return own.reduce((sum, stat) => sum + (stat?.ticks ?? 0), 0) / TICKS_PER_SECOND;
}

async function readStat(entry: string): Promise<{ pid: number; parent: number; ticks: number } | undefined> {
  const text = await readFile(`/proc/${entry}/stat`, 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  // The name stands in brackets and may hold spaces; the fields after it are counted from the state, field 3.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const field = (number: number): number => Number(fields[number - 3]);
  return { pid: Number(entry), parent: field(4), ticks: field(14) + field(15) + field(16) + field(17) };
}
