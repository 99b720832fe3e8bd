// The loops of agent runtimes: the group that writes wishes down, and the keeper that makes them come true.

import type { Environment, Loop, Registry } from '@pulsebox/loop';
import { keeper, openKubernetes, runtimesHandler, runtimesMetrics } from '@pulsebox/runtimes';
import { runtimeSettings } from '@pulsebox/worker-base';
import type { OpenedLog, outboxVariables, runtimeVariables } from '@pulsebox/worker-base';

export interface RuntimeLoopsOptions {
  readonly config: Environment<typeof runtimeVariables & typeof outboxVariables>;
  readonly outbox: OpenedLog;
  readonly registry: Registry;
}

export interface RuntimeLoops {
  readonly loops: readonly Loop[];
  readonly namespace: string;
  close(): Promise<void>;
}

/** Undefined: runtimes are off. @throws RUNTIMES_CONFIG_INVALID */
export async function runtimeLoops(options: RuntimeLoopsOptions): Promise<RuntimeLoops | undefined> {
  const { config, outbox, registry } = options;
  const settings = runtimeSettings(config);
  if (settings === undefined) return undefined;
  const metrics = runtimesMetrics(registry);
  const cluster = await openKubernetes({ ...settings.access, metrics });
  const { pool, holder } = outbox;
  const { loop, ring } = keeper({
    ...settings,
    pool,
    holder,
    cluster,
    metrics,
    leaseTtlMs: config.OUTBOX_LEASE_SECONDS * 1_000,
  });
  return {
    namespace: cluster.namespace,
    loops: [
      // A wish that could not be understood holds no later one of the user up; one that comes late is known by its position.
      outbox.consume({ group: 'runtimes', handler: runtimesHandler({ pool, onWish: ring }), order: 'none' }),
      outbox.whenMigrated(loop),
    ],
    close: () => cluster.close(),
  };
}
