// Carries out what was decided about one runtime. Before anything is asked of the cluster that cannot be taken back, the
// row says so; after that it says what came of it. Whoever dies in between leaves a row that the next round understands.

import type { Logger } from '@pulsebox/loop';
import type { Queryable } from '@pulsebox/postgres';
import { mayHaveHappened } from './api-fault.ts';
import type { Cluster } from './cluster.ts';
import type { Decision } from './decide.ts';
import { podOf, serviceOf, urlOf } from './manifests.ts';
import type { RuntimeToMake } from './manifests.ts';
import type { RuntimeRow } from './runtime-row.ts';
import type { RuntimeSpec } from './runtime-spec.ts';
import { RuntimesError } from './runtimes-error.ts';
import type { RuntimesMetrics } from './runtimes-metrics.ts';
import { createKnown, createSent, fail, gone, note, run, stopIdle } from './transitions.ts';

export interface Hands {
  readonly db: Queryable;
  readonly cluster: Cluster;
  readonly spec: RuntimeSpec;
  readonly idleTimeoutMs: number;
  readonly signal: AbortSignal;
  readonly log: Logger;
  readonly metrics: RuntimesMetrics | undefined;
}

/** $1 user. Index: the key. 0 rows: the user has chosen nothing. */
const SETTINGS = `select settings from app.user_agent_settings where user_id = $1`;

/**
 * Result: whether anything was done. Ends early when the row has changed meanwhile.
 *
 * @throws RUNTIMES_API_AWAY, RUNTIMES_API_THROTTLED, RUNTIMES_API_DENIED
 */
export async function carryOut(
  hands: Hands,
  row: RuntimeRow,
  decisions: readonly Decision[],
): Promise<boolean> {
  let { version } = row;
  let acted = false;
  for (const decision of decisions) {
    if (decision.act === 'wait') continue;
    hands.signal.throwIfAborted();
    const next = await carryOutOne(hands, { ...row, version }, decision);
    if (next === undefined) return acted;
    version = next;
    acted = true;
    if (decision.act === 'note') continue;
    hands.metrics?.decisions.inc({ decision: decision.act });
    const { userId, name } = row;
    hands.log.info(
      { user: userId, runtime: name, decision: decision.act, reason: decision.reason, state: row.state },
      'runtime',
    );
  }
  return acted;
}

/** Result: the version that the row has now; undefined: nothing more is to be done in this round. */
async function carryOutOne(hands: Hands, row: RuntimeRow, decision: Decision): Promise<string | undefined> {
  const { db, cluster, signal } = hands;
  switch (decision.act) {
    case 'create-pod':
      return await createPod(hands, row);
    case 'create-service':
      return await createService(hands, row);
    case 'delete':
      // Whatever comes of it, the next round looks; `replaced` is another object, and was left alone.
      await cluster.remove(decision.object, signal);
      return row.version;
    case 'know':
      return await createKnown(db, row, decision.pod.uid);
    case 'note':
      return await note(db, row, decision.reason);
    case 'run': {
      const ran = await run(db, row, urlOf(row.name, cluster.namespace));
      if (ran !== undefined) hands.metrics?.startDuration.observe(ran.startSeconds);
      return ran?.version;
    }
    case 'fail':
      return await fail(db, row, decision.reason);
    case 'fail-if-gone':
      // It may have been created after the cluster was listed, and the row read after that.
      if ((await cluster.getPod(row.name, signal)) !== undefined) return undefined;
      return await fail(db, row, decision.reason);
    case 'stop-idle':
      return await stopIdle(db, row, decision.reason, hands.idleTimeoutMs);
    case 'gone':
      if ((await cluster.getPod(row.name, signal)) !== undefined) return undefined;
      if ((await cluster.getService(row.name, signal)) !== undefined) return undefined;
      return await gone(db, row);
    case 'wait':
    default:
      return row.version;
  }
}

/** Written down before it is sent: whoever finds the row knows that a Pod may come. */
async function createPod(hands: Hands, row: RuntimeRow): Promise<string | undefined> {
  const { db, cluster, spec, signal } = hands;
  const pod = podOf(await toMake(db, row), spec);
  const version = await createSent(db, row);
  if (version === undefined) return undefined;
  const sent = { ...row, version };
  // The lease may have been lost in the meantime, for as long as a statement can take.
  signal.throwIfAborted();
  const created = await cluster.createPod(pod, signal).catch((error: unknown) => refusalOf(error));
  const uid = created === 'exists' || created instanceof RuntimesError ? null : created.uid;
  const known = await createKnown(db, sent, uid);
  if (known === undefined) return undefined;
  const now = { ...sent, version: known };
  if (created instanceof RuntimesError) return await afterRefusal(hands, now, created);
  // Of this start, made by a request whose answer was lost, or of another one: the next round sees which.
  return created === 'exists' ? undefined : await createService(hands, now);
}

/** @throws what leaves it open whether the request took effect */
function refusalOf(error: unknown): RuntimesError {
  if (!(error instanceof RuntimesError) || mayHaveHappened(error)) throw error;
  return error;
}

async function createService(hands: Hands, row: RuntimeRow): Promise<string | undefined> {
  const { db, cluster, signal } = hands;
  try {
    const made = await cluster.createService(serviceOf(await toMake(db, row)), signal);
    return made === 'exists' ? undefined : row.version;
  } catch (error) {
    return await afterRefusal(hands, row, error);
  }
}

/** What the API server will refuse again ends the start; what may pass is tried until the start takes too long. */
async function afterRefusal(hands: Hands, row: RuntimeRow, error: unknown): Promise<undefined> {
  if (!(error instanceof RuntimesError)) throw error;
  if (error.code === 'RUNTIMES_API_AWAY' || error.code === 'RUNTIMES_API_THROTTLED') throw error;
  const { db, log } = hands;
  const { userId: user, name: runtime, reason } = row;
  log.warn({ user, runtime, reason: error.message }, 'the API server refuses a runtime');
  const isFinal = error.status === 400 || error.status === 413 || error.status === 422;
  if (row.state === 'starting' && isFinal) await fail(db, row, error.message);
  else if (row.state === 'starting' && reason !== error.message) await note(db, row, error.message);
  if (error.code === 'RUNTIMES_API_DENIED') throw error;
}

async function toMake(db: Queryable, { userId, startId }: RuntimeRow): Promise<RuntimeToMake> {
  const { rows } = await db.query<{ settings: unknown }>(SETTINGS, [userId]);
  return { userId, startId, settings: rows[0]?.settings ?? {} };
}
