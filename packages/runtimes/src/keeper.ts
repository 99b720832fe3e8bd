// The loop that makes wishes come true. One process of all does it at a time, by a lease.

import type { Loop, LoopCheck, TickContext } from '@pulsebox/loop';
import { boundedQueries } from '@pulsebox/outbox';
import { acquireLease, holdLease } from '@pulsebox/postgres';
import type { HeldLease, Queryable } from '@pulsebox/postgres';
import type { Pool } from 'pg';
import type { Cluster } from './cluster.ts';
import type { Cap } from './places.ts';
import { runRound, STATEMENT_MS } from './round.ts';
import { clearGauges, setGauges } from './runtime-gauges.ts';
import { isAnyInMotion } from './runtime-row.ts';
import type { RuntimeSpec } from './runtime-spec.ts';
import { RuntimesError } from './runtimes-error.ts';
import type { RuntimesMetrics } from './runtimes-metrics.ts';
import type { SurveyRules } from './survey.ts';

export interface KeeperOptions {
  readonly pool: Pool;
  readonly cluster: Cluster;
  readonly spec: RuntimeSpec;
  readonly cap: Cap;
  readonly rules: SurveyRules;
  /** For people who ask who keeps them: `host/pid/random`. */
  readonly holder: string;
  readonly metrics?: RuntimesMetrics | undefined;
  /** How often everything is looked at, in milliseconds. Default 60,000. */
  readonly everyMs?: number;
  /** How often it is asked whether something is in motion, and how often what is in motion is looked at. Default 1,000. */
  readonly pollMs?: number;
  /** How long the runtimes wait when the process that keeps them dies, in milliseconds. Default 15,000. */
  readonly leaseTtlMs?: number;
}

export interface Keeper {
  readonly loop: Loop;
  /** Something new is wished: look at once. */
  ring(): void;
}

export const KEEPER_LEASE = 'runtimes/keeper';

/** A multiple of this without a sign of life is a stall; a call to the API server takes half of it at most. */
const CADENCE_MS = 20_000;
/** How often a process that does not keep them asks whether it should. */
const STANDBY_MS = 3_000;
const LONGEST_PAUSE_MS = 30_000;
/** An API server that asks for more is not taken at its word. */
const LONGEST_RETRY_AFTER_MS = 300_000;

export function keeper(options: KeeperOptions): Keeper {
  const { pool, holder, metrics, everyMs = 60_000, pollMs = 1_000, leaseTtlMs = 15_000 } = options;
  let lease: HeldLease | undefined;
  let roundDueAtMs = 0;
  let failedRounds = 0;
  /** Of the fault that rounds end with at present, once it was logged. */
  let saidCode: string | undefined;
  let bell: (() => void) | undefined;
  let rung = false;

  /** With an end to every wait, which says meanwhile that it is none without one. */
  const patient = (progress?: () => void): Queryable => boundedQueries(pool, STATEMENT_MS, progress);

  async function hold(progress: () => void): Promise<HeldLease | undefined> {
    if (lease !== undefined && !lease.signal.aborted) return lease;
    if (lease !== undefined) await letGo();
    const requestedAtMs = performance.now();
    const attempt = await acquireLease(patient(progress), { name: KEEPER_LEASE, holder, ttlMs: leaseTtlMs });
    if (!attempt.acquired) return undefined;
    roundDueAtMs = 0;
    lease = holdLease(patient(), {
      name: KEEPER_LEASE,
      holder,
      ttlMs: leaseTtlMs,
      token: attempt.token,
      requestedAtMs,
    });
    return lease;
  }

  async function letGo(): Promise<void> {
    const held = lease;
    lease = undefined;
    if (metrics !== undefined) clearGauges(metrics);
    // Away or not, the lease ends by itself.
    await held?.release().catch(() => undefined);
  }

  async function turn(held: HeldLease, context: TickContext): Promise<{ events: number; nextInMs: number }> {
    const progress = (): void => context.progress();
    rung = false;
    if (performance.now() < roundDueAtMs && !(await isAnyInMotion(patient(progress))))
      return { events: 0, nextInMs: pollMs };
    // A worker that stops begins no round; one that is under way ends between two steps.
    const signal = AbortSignal.any([held.signal, context.signal, context.stopping]);
    try {
      const { acted } = await runRound({
        ...options,
        signal,
        log: context.log,
        metrics,
        progress,
      });
      if (failedRounds > 0) context.log.info({ failedRounds }, 'rounds over the runtimes are finished again');
      failedRounds = 0;
      saidCode = undefined;
      roundDueAtMs = performance.now() + everyMs;
      if (metrics !== undefined) await setGauges(patient(progress), metrics);
      return { events: acted, nextInMs: pollMs };
    } catch (error) {
      if (signal.aborted) return { events: 0, nextInMs: pollMs };
      if (!(error instanceof RuntimesError)) throw error;
      failedRounds += 1;
      const pauseMs = Math.max(
        Math.min(error.retryAfterMs ?? 0, LONGEST_RETRY_AFTER_MS),
        Math.min(pollMs * 2 ** failedRounds, LONGEST_PAUSE_MS),
      );
      // While it lasts, `checks` says so; each further try is for those who look closely.
      const level = error.code === saidCode ? 'debug' : 'warn';
      saidCode = error.code;
      context.log[level](
        { err: error, code: error.code, pauseMs },
        'a round over the runtimes was not finished; it is tried again',
      );
      return { events: 0, nextInMs: pauseMs };
    }
  }

  const loop: Loop = {
    name: 'runtimes-keeper',
    cadenceMs: CADENCE_MS,
    async tick(context) {
      const held = await hold(() => context.progress());
      return held === undefined ? { events: 0, nextInMs: STANDBY_MS } : await turn(held, context);
    },
    async rest(ms, signal) {
      if (rung || signal.aborted) return;
      await new Promise<void>((resolve) => {
        const end = (): void => {
          clearTimeout(timer);
          signal.removeEventListener('abort', end);
          bell = undefined;
          resolve();
        };
        const timer = setTimeout(end, ms);
        signal.addEventListener('abort', end, { once: true });
        bell = end;
      });
    },
    async stop() {
      await letGo();
    },
    checks: (): Readonly<Record<string, LoopCheck>> => ({
      kubernetes:
        failedRounds === 0
          ? { status: 'ok' }
          : {
              status: 'degraded',
              detail: `the last ${failedRounds} round(s) could not be finished: see the log`,
            },
    }),
  };
  return {
    loop,
    ring(): void {
      // While the API server is away there is nothing to hurry for.
      if (failedRounds > 0) return;
      rung = true;
      bell?.();
    },
  };
}
