// Carries out the planned mishaps, and keeps a record of them on the database's clock.

import type { Queryable } from '@pulsebox/postgres';
import type { Pool } from 'pg';
import { end, terminate } from './fleet.ts';
import type { Fleet, Member } from './fleet.ts';
import { eventMishapKinds, operatorMishapKinds, requestMishapKinds, workerMishapKinds } from './mishaps.ts';
import type {
  EventMishapKind,
  Mishap,
  OperatorMishapKind,
  RequestMishapKind,
  WorkerMishapKind,
} from './mishaps.ts';
import type { Network } from './network.ts';
import { operate } from './operator.ts';
import { patiently } from './patience.ts';
import type { Pause } from './pause.ts';
import { writeDeadly } from './producer.ts';
import { seededRandom } from './random.ts';
import type { Random } from './random.ts';
import { sinkMishapKinds } from './sink.ts';
import type { Sink, SinkMishapKind } from './sink.ts';
import type { TortureServer } from './server.ts';
import { deadlyTrial } from './trials.ts';

/** Result: the number of a worker that reads a lane of the group. $1 group, $2 what chooses one. 0 rows: nobody does. */
const READER = `
  select split_part(holder, '/', 2)::integer as worker from pulsebox.lease
  where starts_with(name, 'outbox/' || $1 || '/') and holder is not null and expires_at > clock_timestamp()
  order by hashtext(name || $2) limit 1`;

const MISHAP_BEGINS = `insert into torture.mishap (worker, kind) values ($1, $2) returning id`;

const MISHAP_ENDS = `update torture.mishap set ended_at = clock_timestamp() where id = $1`;

const MISHAP_NEVER_CAME = `delete from torture.mishap where id = $1`;

/** What writers call their connections. */
export const WRITER = 'torture-writer';

/** 0 rows: nobody writes at present. $1 their name, $2 a number that chooses one. Writers that do nothing are spared. */
const CUT_ONE = `
  select pg_terminate_backend(pid) from (
    select pid, row_number() over (order by pid) as n, count(*) over () as writers from pg_stat_activity
    where application_name = $1 and datname = current_database() and xact_start is not null
  ) writing
  where n = 1 + $2::integer % writers`;

/** Some requests are rare, and those that come after them in the plan shall strike as well. */
const REQUEST_COMES_WITHIN_MS = 1_000;

export interface ChaosOptions {
  /** Waits for the database to be back. */
  readonly db: Queryable;
  readonly pool: Pool;
  readonly fleet: Fleet;
  readonly network: Network;
  readonly sink: Sink;
  /** Undefined: the server is somebody's, and no crash is planned. */
  readonly server: TortureServer | undefined;
  readonly groups: readonly string[];
  /** Whether an event may kill so often that it becomes a dead letter, which takes half a minute. */
  readonly longEnough: boolean;
  readonly pause: Pause;
}

/** Resolves when the plan is over or `pause` was cut short, and everything that was stopped runs again. */
export async function chaos(options: ChaosOptions, mishaps: readonly Mishap[]): Promise<void> {
  const startedAtMs = performance.now();
  const over = new AbortController();
  const underWay: Promise<void>[] = [];
  // Each of these is done one at a time: a request, an outage, a command.
  let lastRequest: Promise<void> = Promise.resolve();
  let lastOutage: Promise<void> = Promise.resolve();
  let lastCommand: Promise<void> = Promise.resolve();
  let lastOfSink: Promise<void> = Promise.resolve();
  for (const mishap of mishaps) {
    if (!(await options.pause(startedAtMs + mishap.atMs - performance.now()))) break;
    if (isOneOf(requestMishapKinds, mishap.kind)) {
      const { kind } = mishap;
      lastRequest = lastRequest.then(() => strikeRequest(options, kind, over.signal));
    } else if (isOneOf(workerMishapKinds, mishap.kind)) {
      const { kind } = mishap;
      const member = await victimOf(options, mishap);
      // All of them are down or frozen already.
      if (member === undefined) continue;
      if (kind !== 'clock') member.busy = true;
      underWay.push(befall(options, { ...mishap, kind, member }));
    } else if (isOneOf(operatorMishapKinds, mishap.kind)) {
      const { kind, draw } = mishap;
      lastCommand = lastCommand.then(() => command(options, kind, draw));
    } else if (isOneOf(sinkMishapKinds, mishap.kind)) {
      const { kind, lastsMs } = mishap;
      lastOfSink = lastOfSink.then(() => strikeSink(options, kind, lastsMs));
    } else if (isOneOf(eventMishapKinds, mishap.kind)) {
      underWay.push(sendDeadly(options, mishap.kind, mishap.draw));
    } else if (mishap.kind === 'scale') {
      underWay.push(scale(options, mishap.draw));
    } else {
      lastOutage = lastOutage.then(() => strikeWorld(options, mishap));
    }
    underWay.push(lastRequest, lastOutage, lastCommand, lastOfSink);
  }
  over.abort();
  await Promise.all(underWay);
}

/** Cuts the connection of a writer in the midst of its transaction, now and then, until the run is over. */
export async function cutWriters(db: Queryable, pause: Pause, random: Random): Promise<void> {
  while (await pause(random.integer(300, 2_000))) {
    await db.query(CUT_ONE, [WRITER, random.integer(0, 1_000)]);
  }
}

async function victimOf({ db, fleet, groups }: ChaosOptions, mishap: Mishap): Promise<Member | undefined> {
  if (mishap.victim === 'any') return fleet.idle().at(-1);
  const group = groups[mishap.draw % groups.length] ?? '';
  const { rows } = await db.query<{ worker: number }>(READER, [group, String(mishap.draw)]);
  const idle = fleet.idle();
  return idle.find((member) => member.number === rows[0]?.worker) ?? idle[0];
}

interface Blow extends Mishap {
  readonly kind: WorkerMishapKind;
  readonly member: Member;
}

async function befall(options: ChaosOptions, { kind, member, lastsMs, draw }: Blow): Promise<void> {
  const { fleet, pause } = options;
  const ended = await begin(options, kind, member.number);
  switch (kind) {
    case 'kill':
      await end(member, 'SIGKILL');
      break;
    case 'restart':
      await terminate(member);
      break;
    case 'freeze':
    case 'blink':
      member.child.kill('SIGSTOP');
      await pause(lastsMs);
      member.child.kill('SIGCONT');
      member.busy = false;
      break;
    case 'clock':
      // Up to three days to either side.
      fleet.setClock(member, ((draw % 145) - 72) * 3_600_000);
      break;
  }
  await ended();
  if (kind === 'kill' || kind === 'restart') {
    await pause(lastsMs);
    fleet.start();
  }
}

async function command(options: ChaosOptions, kind: OperatorMishapKind, draw: number): Promise<void> {
  const ended = await begin(options, kind, null);
  await operate(options, kind, draw);
  await ended();
}

async function strikeSink(options: ChaosOptions, kind: SinkMishapKind, lastsMs: number): Promise<void> {
  const ended = await begin(options, kind, null);
  await options.sink.fail(kind, lastsMs, options.pause);
  await ended();
}

/** What it does is noted by the worker that it strikes. */
async function sendDeadly(options: ChaosOptions, kind: EventMishapKind, draw: number): Promise<void> {
  const { pool, groups, longEnough } = options;
  const random = seededRandom(draw);
  const times = longEnough && random.chance(0.35) ? null : random.integer(1, longEnough ? 3 : 1);
  const trial = deadlyTrial(kind === 'killer event' ? 'kill' : 'hang', random.pick(groups), times);
  await patiently(async () => await writeDeadly(pool, random, trial));
}

/** More pods, or fewer: those that leave are asked to, and not replaced. */
async function scale(options: ChaosOptions, size: number): Promise<void> {
  const { fleet } = options;
  const ended = await begin(options, 'scale', null);
  const running = fleet.idle();
  for (let n = running.length; n < size; n += 1) fleet.start();
  await Promise.all(running.slice(size).map(terminate));
  await ended();
}

async function strikeRequest(
  options: ChaosOptions,
  kind: RequestMishapKind,
  signal: AbortSignal,
): Promise<void> {
  const { rows } = await options.db.query<{ id: number }>(MISHAP_BEGINS, [null, kind]);
  const patience = AbortSignal.any([signal, AbortSignal.timeout(REQUEST_COMES_WITHIN_MS)]);
  const struck = await options.network.breakRequest(kind, patience);
  await options.db.query(struck ? MISHAP_ENDS : MISHAP_NEVER_CAME, [rows[0]?.id]);
}

async function strikeWorld(options: ChaosOptions, { kind, lastsMs }: Mishap): Promise<void> {
  const { network, server, pause } = options;
  const ended = await begin(options, kind, null);
  if (kind === 'network away' || kind === 'network hung') await network.fail(kind, lastsMs, pause);
  else if ((kind === 'crash' || kind === 'power cut') && server !== undefined)
    await server.crash(kind, lastsMs);
  await ended();
}

/** Records that it begins; what is returned records that it has ended. */
async function begin(
  { db }: Pick<ChaosOptions, 'db'>,
  kind: Mishap['kind'],
  worker: number | null,
): Promise<() => Promise<void>> {
  const { rows } = await db.query<{ id: number }>(MISHAP_BEGINS, [worker, kind]);
  return async () => {
    await db.query(MISHAP_ENDS, [rows[0]?.id]);
  };
}

function isOneOf<T extends string>(kinds: readonly T[], kind: string): kind is T {
  return (kinds as readonly string[]).includes(kind);
}
