// Where the database is: one URL, or its parts as Kubernetes secrets hand them out.

import type { ClientConfig } from 'pg';
import { PostgresError } from './postgres-error.ts';

export interface ConnectionSource {
  /** `postgres://user:password@host:port/database`. Wins over the parts. */
  readonly url?: string | undefined;
  readonly host?: string | undefined;
  readonly port?: number | undefined;
  readonly database?: string | undefined;
  readonly user?: string | undefined;
  readonly password?: string | undefined;
}

/**
 * Makes the configuration that node-postgres takes.
 *
 * @throws POSTGRES_CONNECTION_CONFIG when neither a URL nor a host is given, or the URL cannot be read.
 */
export function connectionConfig(source: ConnectionSource, applicationName: string): ClientConfig {
  const common: ClientConfig = {
    application_name: applicationName,
    connectionTimeoutMillis: 5_000,
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
  };
  if (source.url !== undefined) {
    assertPostgresUrl(source.url);
    return { ...common, connectionString: source.url };
  }
  if (source.host === undefined) {
    throw new PostgresError('POSTGRES_CONNECTION_CONFIG', 'no database is configured', {
      hint: 'set DATABASE_URL to postgres://user:password@host:5432/database, or POSTGRES_HOST, POSTGRES_PORT, POSTGRES_DB, POSTGRES_USER and POSTGRES_PASSWORD',
    });
  }
  return {
    ...common,
    host: source.host,
    ...(source.port === undefined ? {} : { port: source.port }),
    ...(source.database === undefined ? {} : { database: source.database }),
    ...(source.user === undefined ? {} : { user: source.user }),
    ...(source.password === undefined ? {} : { password: source.password }),
  };
}

/** The same place without its secrets, for logs: `host:port/database`. */
export function describeConnection(config: ClientConfig): string {
  if (config.connectionString === undefined) {
    return `${config.host ?? 'localhost'}:${config.port ?? 5432}/${config.database ?? ''}`;
  }
  const url = new URL(config.connectionString);
  return `${url.host}${url.pathname}`;
}

function assertPostgresUrl(url: string): void {
  const parsed = URL.parse(url);
  if (parsed !== null && ['postgres:', 'postgresql:'].includes(parsed.protocol)) return;
  throw new PostgresError('POSTGRES_CONNECTION_CONFIG', 'DATABASE_URL is not a PostgreSQL URL', {
    hint: 'expected postgres://user:password@host:5432/database; characters such as @ or / in a password must be percent-encoded',
  });
}
