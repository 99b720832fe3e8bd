// Agent runtimes: whether somebody looks after them, whether the cluster can be asked, and which are in trouble.

import { LoopError } from '@pulsebox/loop';
import { planRound, RuntimesError } from '@pulsebox/runtimes';
import type { RuntimeSettings } from '@pulsebox/worker-base';
import type { Pool } from 'pg';
import { plural } from '../quantities.ts';
import { runtimesHere, withCluster } from '../runtimes-setup.ts';
import { printable } from '../terminal.ts';
import type { Check } from './check.ts';
import { fail, ok, skip, warn } from './finding.ts';
import type { Finding } from './finding.ts';

/**
 * One row: how many runtimes are not stopped, are in error, or wait for a place; who keeps them, null: nobody. Reads the
 * table, and the key of lease.
 */
const STATE = `
  select count(*) filter (where state <> 'stopped')::int as alive,
         count(*) filter (where state = 'error')::int as failed,
         count(*) filter (where state = 'starting' and placed_at is null)::int as waiting,
         (select holder from pulsebox.lease
          where name = 'runtimes/keeper' and expires_at > clock_timestamp()) as keeper
  from app.agent_runtimes`;

interface State {
  readonly alive: number;
  readonly failed: number;
  readonly waiting: number;
  readonly keeper: string | null;
}

const PATIENCE_MS = 10_000;

export const agentRuntimes: Check = {
  name: 'agent-runtimes',
  needs: 'schema',
  async run({ pool, env }) {
    const { rows } = await pool.query<State>(STATE);
    const state = rows[0] ?? { alive: 0, failed: 0, waiting: 0, keeper: null };
    let settings: RuntimeSettings | undefined;
    try {
      settings = runtimesHere(env);
    } catch (error) {
      if (error instanceof LoopError) return skip('OPENCLAW_* cannot be used: see environment');
      throw error;
    }
    if (settings === undefined && state.alive === 0) return ok('agent runtimes are off, and there are none');
    const findings = [...neglected(state), ...inTrouble(state)];
    if (settings === undefined)
      findings.push(
        skip(`the cluster of ${plural(state.alive, 'runtime')} was not asked: OPENCLAW_RUNTIME is off here`),
      );
    else findings.push(await askCluster(pool, settings, state));
    return findings;
  },
};

function neglected({ alive, keeper }: State): Finding[] {
  if (alive === 0 || keeper !== null) return [];
  return [
    fail(
      `nobody looks after ${plural(alive, 'agent runtime')}: nothing is started, stopped or reaped`,
      'start a worker with OPENCLAW_RUNTIME=k8s; if one runs, `checks` in its /health says why it does not keep them',
    ),
  ];
}

function inTrouble({ failed, waiting }: State): Finding[] {
  return [
    ...(failed === 0
      ? []
      : [
          warn(
            `${plural(failed, 'agent runtime')} could not be started or kept`,
            'pulsebox runtimes list --state error says why; pulsebox runtimes why USER what is done about it',
          ),
        ]),
    ...(waiting === 0
      ? []
      : [
          warn(
            `${plural(waiting, 'agent runtime')} cannot start: all places are taken`,
            'wait until others are stopped (pulsebox runtimes list), or raise OPENCLAW_K8S_MAX_CONCURRENT_PODS or OPENCLAW_K8S_MAX_PODS_IN_ALL',
          ),
        ]),
  ];
}

async function askCluster(pool: Pool, settings: RuntimeSettings, state: State): Promise<Finding> {
  try {
    const steps = await withCluster(settings, (cluster) =>
      planRound({ db: pool, cluster, rules: settings.rules, signal: AbortSignal.timeout(PATIENCE_MS) }),
    );
    const open = steps.filter(({ act }) => act !== 'wait').length;
    const kept = `${plural(state.alive, 'agent runtime')}${state.keeper === null ? '' : `, kept by ${printable(state.keeper)}`}`;
    return ok(`the cluster answers; ${kept}; ${plural(open, 'step')} to be taken`);
  } catch (error) {
    if (error instanceof RuntimesError) return fail(printable(error.message), error.hint);
    throw error;
  }
}
