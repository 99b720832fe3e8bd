// Agent runtimes as the environment configures them.

import { parseEnvironment } from '@pulsebox/loop';
import { openKubernetes } from '@pulsebox/runtimes';
import type { Cluster } from '@pulsebox/runtimes';
import { checkRuntimes, runtimeSettings, runtimeVariables } from '@pulsebox/worker-base';
import type { RuntimeSettings } from '@pulsebox/worker-base';
import { CliError } from './cli-error.ts';

type Env = Readonly<Record<string, string | undefined>>;

/** Undefined: they are off here. @throws LOOP_ENV_INVALID */
export function runtimesHere(env: Env): RuntimeSettings | undefined {
  return runtimeSettings(parseEnvironment(runtimeVariables, env, { check: checkRuntimes }));
}

/** @throws LOOP_ENV_INVALID, CLI_RUNTIMES_OFF */
export function setUpRuntimes(env: Env): RuntimeSettings {
  const settings = runtimesHere(env);
  if (settings !== undefined) return settings;
  throw new CliError('CLI_RUNTIMES_OFF', 'expected OPENCLAW_RUNTIME to be k8s, but runtimes are off', {
    hint: 'set OPENCLAW_* as the worker has them; outside the cluster OPENCLAW_K8S_KUBECONFIG as well',
  });
}

/** Opens the cluster for `work` and closes it. @throws RUNTIMES_CONFIG_INVALID, and what `work` throws */
export async function withCluster<T>(
  { access }: RuntimeSettings,
  work: (cluster: Cluster) => Promise<T>,
): Promise<T> {
  const cluster = await openKubernetes(access);
  try {
    return await work(cluster);
  } finally {
    await cluster.close();
  }
}
