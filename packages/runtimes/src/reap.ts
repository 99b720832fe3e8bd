// One round on behalf of a person: what would be done, or done at once.

import { acquireLease, holdLease } from '@pulsebox/postgres';
import type { Queryable } from '@pulsebox/postgres';
import type { Cluster } from './cluster.ts';
import { KEEPER_LEASE } from './keeper.ts';
import { runRound } from './round.ts';
import type { RoundOptions, RoundReport } from './round.ts';
import { RuntimesError } from './runtimes-error.ts';
import { survey } from './survey.ts';
import type { SurveyRules } from './survey.ts';

/** What a round would do about one runtime, or one object that is nobody's. */
export interface PlannedStep {
  readonly name: string;
  /** Null: nobody's, as far as the database knows. */
  readonly user: string | null;
  readonly act: string;
  /** What is deleted: `Pod` or `Service`. */
  readonly kind: string | null;
  readonly reason: string;
}

export interface PlanOptions {
  readonly db: Queryable;
  readonly cluster: Cluster;
  readonly rules: SurveyRules;
  readonly signal: AbortSignal;
}

/** What a round would do now. Changes nothing; what waits is in it, with what for. @throws RUNTIMES_API_* */
export async function planRound(options: PlanOptions): Promise<readonly PlannedStep[]> {
  const { runtimes, orphans } = await survey(options);
  return [
    ...runtimes.flatMap(({ row, decisions }) =>
      decisions.map((decision) => ({
        name: row.name,
        user: row.userId,
        act: decision.act,
        kind: decision.act === 'delete' ? decision.object.kind : null,
        reason: decision.reason,
      })),
    ),
    ...orphans.map(({ object, reason, old }) => ({
      name: object.name,
      user: object.userId ?? null,
      act: old ? 'delete-orphan' : 'wait',
      kind: object.kind,
      reason: old ? reason : `${reason}, and the ${object.kind} is still too young to be an orphan`,
    })),
  ];
}

/** A round of one's own, under the lease of the keeper. @throws RUNTIMES_KEPT_ELSEWHERE, RUNTIMES_API_* */
export async function reap(options: RoundOptions & { readonly holder: string }): Promise<RoundReport> {
  const { pool, holder } = options;
  const ttlMs = 15_000;
  const requestedAtMs = performance.now();
  const attempt = await acquireLease(pool, { name: KEEPER_LEASE, holder, ttlMs });
  if (!attempt.acquired) {
    throw new RuntimesError(
      'RUNTIMES_KEPT_ELSEWHERE',
      `expected to be the only one, but ${attempt.heldBy} keeps the runtimes`,
      { hint: 'it does all of this by itself, once a minute at least; --dry-run shows what it will do' },
    );
  }
  const held = holdLease(pool, { name: KEEPER_LEASE, holder, ttlMs, token: attempt.token, requestedAtMs });
  try {
    return await runRound({ ...options, signal: AbortSignal.any([options.signal, held.signal]) });
  } finally {
    await held.release();
  }
}
