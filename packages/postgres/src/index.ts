export type { Patience } from './answered.ts';
export { answered, connected } from './answered.ts';
export type { Bounds } from './bounded-transaction.ts';
export { boundedTransaction } from './bounded-transaction.ts';
export type { Candidacy } from './candidacy.ts';
export { candidacy } from './candidacy.ts';
export type { ConnectionSource } from './connection.ts';
export { connectionConfig, describeConnection } from './connection.ts';
export type { EmbeddedServer, EmbeddedServerOptions } from './embedded-server.ts';
export { runningServerPid, startEmbeddedServer } from './embedded-server.ts';
export type { HeldLease, HeldLeaseEvents } from './held-lease.ts';
export { holdLease } from './held-lease.ts';
export type { LeaseAttempt, LeaseRenewal, LeaseRequest } from './lease.ts';
export { acquireLease, handLeaseOver, releaseLease, renewLease, requestHandover } from './lease.ts';
export type { Listener, ListenOptions, ListenState } from './listen.ts';
export { listen } from './listen.ts';
export type { MigrationStatus } from './migrate.ts';
export { assertMigrated, migrate, migrationStatus } from './migrate.ts';
export type {
  CodeMigration,
  Migration,
  MigrationCode,
  MigrationFolder,
  MigrationSet,
} from './migration-set.ts';
export type { PoolOptions } from './pool.ts';
export { createPool } from './pool.ts';
export type { PostgresErrorCode } from './postgres-error.ts';
export { PostgresError, postgresErrorCodes } from './postgres-error.ts';
export type { Queryable } from './queryable.ts';
export { transaction } from './transaction.ts';

import type { MigrationFolder } from './migration-set.ts';

/** The tables of this package: leases. */
export const postgresMigrations: MigrationFolder = {
  name: 'postgres',
  directory: new URL('../migrations/', import.meta.url),
};
