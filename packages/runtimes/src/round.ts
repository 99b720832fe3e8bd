// One round of the reconciler: look, give out places, act, clear away what is nobody's.

import { boundedQueries } from '@pulsebox/outbox';
import type { Queryable } from '@pulsebox/postgres';
import type { Pool } from 'pg';
import { carryOut } from './carry-out.ts';
import type { Hands } from './carry-out.ts';
import { givePlaces } from './places.ts';
import type { Cap } from './places.ts';
import { RuntimesError } from './runtimes-error.ts';
import { inStartSpan } from './start-span.ts';
import { survey } from './survey.ts';
import type { SurveyRules } from './survey.ts';
import { expire } from './transitions.ts';

export interface RoundOptions extends Omit<Hands, 'db' | 'idleTimeoutMs'> {
  readonly pool: Pool;
  readonly cap: Cap;
  readonly rules: SurveyRules;
  /** Called as it gets on. */
  readonly progress: () => void;
}

/** The longest that one statement is waited for: the table is small, and nobody holds its rows for long. */
export const STATEMENT_MS = 5_000;

export interface RoundReport {
  /** Runtimes about which something was done, and orphans that were deleted. */
  readonly acted: number;
}

/**
 * Any number of rounds may run at once, in any number of processes, without harm to what a row says: whoever comes second
 * finds it changed. One at a time spares requests.
 *
 * @throws RUNTIMES_API_*: what is left undone is seen by the next round
 */
export async function runRound(options: RoundOptions): Promise<RoundReport> {
  const { pool, cluster, cap, rules, signal, log, progress } = options;
  // A database that answers nothing ends the round; it must not make the loop stuck.
  const db = boundedQueries(pool, STATEMENT_MS, progress);
  const hands: Hands = { ...options, db, idleTimeoutMs: rules.idleTimeoutMs };
  let acted = 0;
  let refusal: RuntimesError | undefined;

  /** What is refused of one keeps nothing of the others; an API server that is away, or has too much to do, ends the round. */
  async function attempt(step: () => Promise<void>): Promise<void> {
    signal.throwIfAborted();
    try {
      await step();
    } catch (error) {
      if (!isRefusal(error)) throw error;
      refusal ??= error;
    }
    progress();
  }

  try {
    const { runtimes, orphans } = await survey({
      db,
      cluster,
      rules,
      signal,
      async afterListing() {
        progress();
        for (const user of await givePlaces(pool, cap, {
          statementMs: STATEMENT_MS,
          signal,
          onWaiting: progress,
        }))
          log.info({ user, decision: 'place' }, 'runtime');
      },
    });
    for (const { row, decisions } of runtimes) {
      await attempt(async () => {
        if (await inStartSpan(row, decisions, () => carryOut(hands, row, decisions))) acted += 1;
      });
    }
    for (const { object, reason, old } of orphans) {
      if (!old) continue;
      await attempt(async () => {
        const { kind, name, uid } = object;
        const deletion = await cluster.remove(object, signal);
        options.metrics?.decisions.inc({ decision: 'delete-orphan' });
        log.warn({ kind, name, uid, decision: 'delete-orphan', deletion, reason }, 'runtime');
        acted += 1;
      });
    }
    if (refusal !== undefined) throw refusal;
    return { acted };
  } catch (error) {
    if (error instanceof RuntimesError && !signal.aborted) await expireMeanwhile(db, options, error);
    throw error;
  }
}

function isRefusal(error: unknown): error is RuntimesError {
  return (
    error instanceof RuntimesError &&
    (error.code === 'RUNTIMES_API_DENIED' || error.code === 'RUNTIMES_API_REFUSED')
  );
}

/** Nobody is to wait for a start for longer than it may take because the cluster cannot be looked at. */
async function expireMeanwhile(
  db: Queryable,
  { rules, log, metrics }: RoundOptions,
  fault: RuntimesError,
): Promise<void> {
  const reason = `not ready within ${Math.round(rules.startTimeoutMs / 1_000)} s: ${fault.message}`;
  for (const { user_id: user, name: runtime } of await expire(db, rules.startTimeoutMs, reason)) {
    metrics?.decisions.inc({ decision: 'fail' });
    log.info({ user, runtime, decision: 'fail', reason }, 'runtime');
  }
}
