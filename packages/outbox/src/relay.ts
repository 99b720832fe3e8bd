// A consumer group as a loop.

import type { Jobs } from '@pulsebox/jobs';
import type { Loop, LoopCheck } from '@pulsebox/loop';
import { boundedTransaction } from '@pulsebox/postgres';
import type { Queryable } from '@pulsebox/postgres';
import type { Pool } from 'pg';
import { boundedQueries } from './bounded-queries.ts';
import type { StartFrom } from './group/consumer-group.ts';
import type { DeliveryOrder } from './deliver/deliver.ts';
import type { Handler } from './deliver/handler.ts';
import { lanePauses } from './lane/lane-pauses.ts';
import { createLaneReader } from './lane/lane-reader.ts';
import { createLanes } from './lane/lanes.ts';
import { MOST_CHARACTERS } from './log/event-rows.ts';
import type { OutboxMetrics } from './outbox-metrics.ts';
import type { PauseOptions } from './lane/pause.ts';
import { turnOnce } from './lane/turn-once.ts';
import type { RetryOptions } from './deliver/retry.ts';
import type { Waker } from './lane/waker.ts';

export interface RelayOptions {
  readonly pool: Pool;
  /** The consumer group. Also the name of the loop. */
  readonly group: string;
  readonly handler: Handler;
  /** Who holds the lease, for people: `host/pid/random`. */
  readonly holder: string;
  readonly waker: Waker;
  readonly metrics?: OutboxMetrics;
  /** The most late and the most new events that a batch holds. Default 500. */
  readonly batchSize?: number;
  /**
   * How much JSON a batch holds, in bytes (more where it is not ASCII: characters are counted). The event that goes beyond
   * it is the last of its batch, so there is always one, however large. Default 16 MiB.
   */
  readonly batchBytes?: number;
  /** Where the group starts when it is new. Default `beginning`. */
  readonly startFrom?: StartFrom;
  /** The longest rest while nobody notifies, in milliseconds. Default 1,000. */
  readonly pollMs?: number;
  /** The longest rest while producers notify, in milliseconds. Default 5,000. */
  readonly idleWaitMs?: number;
  /** How long another worker waits for the lane of one that died, in milliseconds. Default 15,000. */
  readonly leaseTtlMs?: number;
  /** The longest a batch may take, in milliseconds. Default: the loop library's. */
  readonly deadlineMs?: number;
  /**
   * `key` (the default): when an event fails, later ones of its key are not handed over before it is delivered or
   * discarded. `none`: they are, which suits a handler that reads the present state of what an event names. A release
   * may change it while events are parked: what waited is tried then, or waits for those before it.
   */
  readonly order?: DeliveryOrder;
  /** How long the group rests while its sink is away. */
  readonly pause?: PauseOptions;
  /** Attempts, the first delivery included, after which a failed event is a dead letter. Default 5. */
  readonly maxAttempts?: number;
  /** How long a failed event waits until it is tried again. */
  readonly retry?: RetryOptions;
  /**
   * Its worker turns it once and ends. Then a turn delivers one batch if there is any: a lane whose lease another worker
   * holds is waited for, at most `leaseTtlMs`, unless that worker renews it and so is alive. Default false.
   */
  readonly once?: boolean;
  /** Keeps the schedule of what is tried again. Without it the reader looks it up in the parked events by itself. */
  readonly jobs?: Jobs;
}

/** The loop library's. */
const DEFAULT_DEADLINE_MS = 900_000;

/**
 * Delivers the log to `handler`, at least once, in order for every key.
 *
 * A batch that is aborted or outlives its lease is delivered again; the cursor stays where it is. So it does while the
 * sink is away: the group pauses, its ticks succeed without events, and it resumes by itself. Single events that fail
 * are parked in the transaction that moves the cursor past them, and tried again; after `maxAttempts` they are dead
 * letters, until a person replays or discards them.
 */
export function relay(options: RelayOptions): Loop {
  const { group, waker } = options;
  const pollMs = options.pollMs ?? 1_000;
  const idleWaitMs = options.idleWaitMs ?? 5_000;
  const leaseTtlMs = options.leaseTtlMs ?? 15_000;
  options.metrics?.deliveryLag.announce(group);
  let sayThatItWaits: (() => void) | undefined;
  // Unanswered for as long as the lease lasts, a query is of no use to its holder any more. A tick waits for several
  // of them, one after the other, which would be longer than the stale time: it says that it waits.
  const db = boundedQueries(options.pool, leaseTtlMs, () => sayThatItWaits?.());
  const reading = {
    db,
    handler: options.handler,
    holder: options.holder,
    waker,
    batchSize: options.batchSize ?? 500,
    batchCharacters: options.batchBytes ?? MOST_CHARACTERS,
    startFrom: options.startFrom ?? 'beginning',
    pollMs,
    idleWaitMs,
    leaseTtlMs,
    order: options.order ?? 'key',
    pause: options.pause ?? {},
    retry: { ...options.retry, maxAttempts: options.maxAttempts ?? 5 },
    jobs: options.jobs,
    transact: <T>(work: (client: Queryable) => Promise<T>): Promise<T> =>
      boundedTransaction(
        options.pool,
        { statementMs: leaseTtlMs, onWaiting: () => sayThatItWaits?.() },
        work,
      ),
    deadlineMs: options.deadlineMs ?? DEFAULT_DEADLINE_MS,
  };
  const metrics = options.metrics;
  const pausedOf = metrics === undefined ? undefined : lanePauses(metrics.paused);
  const lanes = createLanes({
    db,
    group,
    holder: options.holder,
    waker,
    pollMs,
    leaseTtlMs,
    longestRestMs: Math.max(pollMs, idleWaitMs),
    createReader: (lane, onLanes) =>
      createLaneReader({
        ...reading,
        lane: { group, lane },
        metrics:
          metrics === undefined || pausedOf === undefined
            ? undefined
            : { ...metrics, paused: pausedOf(lane) },
        onLanes,
      }),
  });

  const turning = { lanes, db, group, holder: options.holder, pollMs, leaseTtlMs };

  return {
    name: group,
    cadenceMs: Math.max(pollMs, idleWaitMs),
    ...(options.deadlineMs === undefined ? {} : { deadlineMs: options.deadlineMs }),
    async tick(context): ReturnType<Loop['tick']> {
      sayThatItWaits = () => context.progress();
      try {
        return await (options.once === true ? turnOnce(turning, context) : lanes.turn(context));
      } finally {
        sayThatItWaits = undefined;
      }
    },
    async rest(ms, signal): Promise<void> {
      const untilMs = performance.now() + ms;
      await waker.rest(ms, signal, lanes);
      // Each lane rests for a time of its own; cut short, there is something for any of them.
      if (performance.now() < untilMs - 1) lanes.woken();
    },
    stop: () => lanes.close(),
    checks: (): Readonly<Record<string, LoopCheck>> => ({
      listen:
        waker.state === 'lost'
          ? { status: 'degraded', detail: 'LISTEN connection lost; polling' }
          : { status: 'ok' },
      sink: lanes.check(),
    }),
  };
}
