// Prometheus families of the pool of connections. Names, labels and meanings stand in docs/metrics.md, tied to this file by a
// test. Read when they are asked for: nothing is counted on the way of a query.

import type { Registry } from '@pulsebox/loop';
import type { Pool } from 'pg';
import { Gauge } from 'prom-client';

/** Registers the gauges of the one pool that a process has. */
export function exportPool(registry: Registry, pool: Pool): void {
  const registers = [registry];
  new Gauge({
    name: 'postgres_pool_connections',
    help: 'Connections of the pool: busy (in use, or being opened) or idle.',
    labelNames: ['state'],
    registers,
    collect(): void {
      this.set({ state: 'busy' }, pool.totalCount - pool.idleCount);
      this.set({ state: 'idle' }, pool.idleCount);
    },
  });
  new Gauge({
    name: 'postgres_pool_limit',
    help: 'The most connections that the pool opens.',
    registers,
    collect(): void {
      this.set(pool.options.max);
    },
  });
  new Gauge({
    name: 'postgres_pool_waiting',
    help: 'Who waits for a connection since all are busy.',
    registers,
    collect(): void {
      this.set(pool.waitingCount);
    },
  });
}
