// Carries out the planned mishaps on real processes, and keeps a record of them on the database's clock.

import type { Queryable } from '@pulsebox/postgres';
import { end, terminate } from './fleet.ts';
import type { Fleet, Member } from './fleet.ts';
import type { Pause } from './pause.ts';
import type { Mishap } from './plan.ts';
import type { Random } from './random.ts';
import { LEASE } from './schema.ts';

/** Result: the number of the worker that holds the lease. $1 the lease's name. Index: lease_pkey. 0 rows: nobody. */
const READER = `
  select split_part(holder, '/', 2)::integer as worker from pulsebox.lease
  where name = $1 and expires_at > clock_timestamp()`;

const MISHAP_BEGINS = `insert into torture.mishap (worker, kind) values ($1, $2) returning id`;

const MISHAP_ENDS = `update torture.mishap set ended_at = clock_timestamp() where id = $1`;

/** What writers call their connections. */
export const WRITER = 'torture-writer';

/** 0 rows: nobody writes at present. $1 their name, $2 a number that chooses one. Writers that do nothing are spared. */
const CUT_ONE = `
  select pg_terminate_backend(pid) from (
    select pid, row_number() over (order by pid) as n, count(*) over () as writers from pg_stat_activity
    where application_name = $1 and datname = current_database() and xact_start is not null
  ) writing
  where n = 1 + $2::integer % writers`;

/** Resolves when the plan is over or `pause` was cut short, and every frozen worker has been woken. */
export async function chaos(
  db: Queryable,
  fleet: Fleet,
  { mishaps, pause }: { readonly mishaps: readonly Mishap[]; readonly pause: Pause },
): Promise<void> {
  const startedAtMs = performance.now();
  const underWay: Promise<void>[] = [];
  for (const mishap of mishaps) {
    if (!(await pause(startedAtMs + mishap.atMs - performance.now()))) break;
    const member = await victimOf(db, fleet, mishap);
    // All of them are down or frozen already.
    if (member === undefined) continue;
    member.busy = true;
    underWay.push(befall(db, fleet, { mishap, member, pause }));
  }
  await Promise.all(underWay);
}

/** Cuts the connection of a writer in the midst of its transaction, now and then, until the run is over. */
export async function cutWriters(db: Queryable, pause: Pause, random: Random): Promise<void> {
  while (await pause(random.integer(300, 2_000))) {
    await db.query(CUT_ONE, [WRITER, random.integer(0, 1_000)]);
  }
}

async function victimOf(db: Queryable, fleet: Fleet, mishap: Mishap): Promise<Member | undefined> {
  const idle = fleet.idle();
  if (mishap.victim === 'any') return idle.at(-1);
  const { rows } = await db.query<{ worker: number }>(READER, [LEASE]);
  return idle.find((member) => member.number === rows[0]?.worker) ?? idle[0];
}

async function befall(
  db: Queryable,
  fleet: Fleet,
  { mishap, member, pause }: { readonly mishap: Mishap; readonly member: Member; readonly pause: Pause },
): Promise<void> {
  const { rows } = await db.query<{ id: number }>(MISHAP_BEGINS, [member.number, mishap.kind]);
  switch (mishap.kind) {
    case 'kill':
      await end(member, 'SIGKILL');
      break;
    case 'restart':
      await terminate(member);
      break;
    case 'freeze':
    case 'blink':
      member.child.kill('SIGSTOP');
      await pause(mishap.lastsMs);
      member.child.kill('SIGCONT');
      member.busy = false;
      break;
  }
  await db.query(MISHAP_ENDS, [rows[0]?.id]);
  if (mishap.kind === 'kill' || mishap.kind === 'restart') {
    await pause(mishap.lastsMs);
    fleet.start();
  }
}
