// The handler of the workers: its sink is the table torture.delivery, and it suffers what an event has in store for it.

import { SinkError } from '@pulsebox/outbox';
import type { BatchOutcome, EventFailure, Handler, OutboxEvent } from '@pulsebox/outbox';
import type { Pool } from 'pg';
import type { Random } from './random.ts';
import type { Trial } from './trials.ts';

export interface TortureHandlerOptions {
  readonly pool: Pool;
  /** Asked before anything is written. */
  readonly sinkUrl: string;
  readonly group: string;
  /** The number of the process. */
  readonly worker: number;
  readonly batchSize: number;
  readonly deadlineMs: number;
  readonly random: Random;
}

/** How reasons begin that are of an event's own making, for the checks of its history. */
export const TRIAL_REASON = 'trial:';

const SINK_TIMEOUT_MS = 400;
/** A hanging handler that is never told to stop ends by itself: the run must. */
const LONGEST_HANG_DEADLINES = 4;

/**
 * $1 positions, $2 keys, $3 counters, in the order of delivery; $4 worker, $5 fencing token, $6 call, $7 group, $8 lane,
 * $9 tick, $10 the positions that were refused.
 */
const DELIVER = `
  with refused as (
    insert into torture.refusal (group_name, position, worker, batch)
    select $7, position, $4, $6 from unnest($10::bigint[]) as position
  )
  insert into torture.delivery (position, key, counter, worker, token, batch, group_name, lane, tick)
  select position, key, counter, $4, $5, $6, $7, $8, $9
  from unnest($1::bigint[], $2::text[], $3::bigint[]) with ordinality as e(position, key, counter, n)
  order by n`;

/** Result: how often each of the positions $2 has failed in group $1. Index: refusal_position. */
const FAILED_BEFORE = `
  select position::float8 as position, count(*)::integer as times from torture.refusal
  where group_name = $1 and position = any($2::bigint[]) group by 1`;

/** $1 group, $2 worker, $3 call, $4 tick, $5 what. */
const NOTE_FAILED_CALL = `
  insert into torture.failed_call (group_name, worker, batch, tick, kind) values ($1, $2, $3, $4, $5)`;

/** $1 worker, $2 the kind, $3 group, $4 position, $5 call. Result: the mishap's id. */
const STRIKE = `
  with refused as (
    insert into torture.refusal (group_name, position, worker, batch) values ($3, $4, $1, $5)
  )
  insert into torture.mishap (worker, kind) values ($1, $2) returning id`;

const STRIKE_ENDS = `update torture.mishap set ended_at = clock_timestamp() where id = $1`;

/** One call of the handler. Calls of one tick have one signal: only the whole of them is stored. */
interface Call {
  readonly number: number;
  readonly tick: number;
  readonly lane: number;
  readonly token: number;
  readonly signal: AbortSignal;
}

export function createTortureHandler(options: TortureHandlerOptions): Handler {
  const { pool, group, worker, batchSize, deadlineMs, random } = options;
  const ticks = new WeakMap<AbortSignal, number>();
  let calls = 0;
  let lastTick = 0;

  return async ({ events, lane }, { fencingToken, signal }): Promise<BatchOutcome> => {
    const tick = ticks.get(signal) ?? (lastTick += 1);
    const call: Call = { number: (calls += 1), tick, lane, token: fencingToken, signal };
    if (!ticks.has(signal)) heedDeadline(call);
    ticks.set(signal, tick);
    await dawdle(events.length);
    try {
      await askSink(options.sinkUrl);
    } catch (error) {
      await note(call, 'sink away');
      throw error;
    }
    const failed = await deliver(call, events);
    // Whoever dies here has delivered a batch and not stored its cursor.
    await dawdle(events.length);
    return { failed };
  };

  async function deliver(call: Call, events: readonly OutboxEvent[]): Promise<EventFailure[]> {
    const trials = await trialsOf(events);
    const failed: EventFailure[] = [];
    const failedKeys = new Set<string>();
    let taken: OutboxEvent[] = [];
    for (const event of events) {
      // As a handler should: what comes behind one that it reports is passed over.
      if (event.key !== null && failedKeys.has(event.key)) continue;
      const trial = trials.get(event.position);
      if (trial?.kind === 'report') {
        failed.push(failureOf(event, trial));
        if (event.key !== null) failedKeys.add(event.key);
        continue;
      }
      if (trial !== undefined) {
        await take(call, taken, []);
        taken = [];
        await suffer(call, event, trial, events.length === 1);
      }
      taken.push(event);
    }
    await take(
      call,
      taken,
      failed.map(({ position }) => position),
    );
    return failed;
  }

  /** Of those events whose attempts still fail. */
  async function trialsOf(events: readonly OutboxEvent[]): Promise<ReadonlyMap<number, Trial>> {
    const tried = events.flatMap((event) => {
      const trial = (event.payload as { readonly trial?: Trial }).trial;
      return trial?.group === group ? [[event.position, trial] as const] : [];
    });
    if (tried.length === 0) return new Map();
    const { rows } = await pool.query<{ position: number; times: number }>(FAILED_BEFORE, [
      group,
      tried.map(([position]) => position),
    ]);
    const before = new Map(rows.map(({ position, times }) => [position, times]));
    return new Map(
      tried.filter(([position, { times }]) => (before.get(position) ?? 0) < (times ?? Infinity)),
    );
  }

  async function take(call: Call, events: readonly OutboxEvent[], refused: readonly number[]): Promise<void> {
    if (events.length === 0 && refused.length === 0) return;
    await pool.query(DELIVER, [
      events.map((event) => event.position),
      events.map((event) => event.key),
      events.map(counterOf),
      worker,
      call.token,
      call.number,
      group,
      call.lane,
      call.tick,
      refused,
    ]);
  }

  /** Returns only if the event is to be delivered all the same, too late. */
  async function suffer(call: Call, event: OutboxEvent, trial: Trial, alone: boolean): Promise<void> {
    if (trial.kind === 'throw') {
      // What an event does in company is no attempt at it alone: that is still to come.
      await take(call, [], alone ? [event.position] : []);
      await note(call, 'throw');
      throw refusal(event, trial);
    }
    const kind = trial.kind === 'kill' ? 'killer event' : 'hanging event';
    const struck = await pool.query<{ id: number }>(STRIKE, [
      worker,
      kind,
      group,
      event.position,
      call.number,
    ]);
    if (trial.kind === 'kill') process.kill(process.pid, 'SIGKILL');
    await hang(call.signal, trial.heedless);
    await pool.query(STRIKE_ENDS, [struck.rows[0]?.id]);
    if (trial.heedless) return;
    throw new Error(`${TRIAL_REASON} event ${event.position} hung until it was told to stop`);
  }

  async function hang(signal: AbortSignal, heedless: boolean): Promise<void> {
    const longest = AbortSignal.timeout(deadlineMs * LONGEST_HANG_DEADLINES);
    const told = AbortSignal.any([signal, longest]);
    if (!told.aborted)
      await new Promise((resolve) => {
        told.addEventListener('abort', resolve, { once: true });
      });
    if (heedless) await rest(random.integer(0, 500));
  }

  /** It may pass while the handler has nothing in hand. */
  function heedDeadline(call: Call): void {
    const { signal } = call;
    const heed = (): void => {
      if (isPastDeadline(signal)) void note(call, 'deadline');
    };
    if (signal.aborted) heed();
    else signal.addEventListener('abort', heed, { once: true });
  }

  /** Without it a redelivery stays unexplained, but for the mishap that kept it from being written. */
  async function note(call: Call, kind: string): Promise<void> {
    await pool.query(NOTE_FAILED_CALL, [group, worker, call.number, call.tick, kind]).catch(() => undefined);
  }

  /** Handlers are slow now and then, so that mishaps strike in their midst; a backlog is worked off in a hurry. */
  async function dawdle(events: number): Promise<void> {
    if (!random.chance(events < batchSize ? 0.4 : 0.02)) return;
    await rest(random.integer(1, 40));
  }
}

/** @throws SinkError of the kind `away`, or what fetch throws when there is no answer */
async function askSink(url: string): Promise<void> {
  const response = await fetch(url, { signal: AbortSignal.timeout(SINK_TIMEOUT_MS) });
  if (response.ok) return;
  throw new SinkError('away', 'TORTURE_SINK_BUSY', `the sink answered ${response.status}`, {
    hint: 'it is busy on purpose',
    retryAfterMs: Number(response.headers.get('retry-after')) * 1_000,
  });
}

function failureOf({ position }: OutboxEvent, { retryable, times }: Trial): EventFailure {
  const failure = { position, reason: `${TRIAL_REASON} event ${position} was refused`, retryable };
  // Some sinks say when they want to see it again.
  return times !== null && position % 3 === 0 ? { ...failure, retryAfterMs: 300 } : failure;
}

function refusal({ position }: OutboxEvent, { retryable }: Trial): Error {
  const message = `${TRIAL_REASON} the handler threw at event ${position}`;
  return retryable
    ? new Error(message)
    : new SinkError('rejected', 'TORTURE_REJECTED', message, { hint: 'it is bad on purpose' });
}

function isPastDeadline({ aborted, reason }: AbortSignal): boolean {
  return aborted && (reason as { readonly code?: unknown } | undefined)?.code === 'LOOP_TICK_DEADLINE';
}

function counterOf(event: OutboxEvent): number | null {
  return (event.payload as { readonly counter: number | null }).counter;
}

function rest(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}
