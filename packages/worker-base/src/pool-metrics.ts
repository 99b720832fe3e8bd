// Prometheus families of the pool of connections. Names, labels and meanings stand in docs/metrics.md, tied to this file by a
// test. Read when they are asked for: nothing is counted on the way of a query.

import type { Registry } from '@pulsebox/loop';
import type { Pool } from 'pg';
import { Gauge } from 'prom-client';

export interface PoolMetrics {
  readonly connections: Gauge<'state'>;
  readonly limit: Gauge;
  readonly waiting: Gauge;
}

/** Registers the gauges of the one pool that a process has; they set themselves. */
export function poolMetrics(registry: Registry, pool: Pool): PoolMetrics {
  const registers = [registry];
  return {
    connections: new Gauge({
      name: 'postgres_pool_connections',
      help: 'Connections of the pool: busy (in use, or being opened) or idle.',
      labelNames: ['state'],
      registers,
      collect(): void {
        this.set({ state: 'busy' }, pool.totalCount - pool.idleCount);
        this.set({ state: 'idle' }, pool.idleCount);
      },
    }),
    limit: new Gauge({
      name: 'postgres_pool_limit',
      help: 'The most connections that the pool opens.',
      registers,
      collect(): void {
        this.set(pool.options.max);
      },
    }),
    waiting: new Gauge({
      name: 'postgres_pool_waiting',
      help: 'Who waits for a connection since all are busy.',
      registers,
      collect(): void {
        this.set(pool.waitingCount);
      },
    }),
  };
}
