// Where the database is, as environment variables: one URL, or the parts that a Kubernetes secret hands out.

import { env } from '@pulsebox/loop';
import type { Environment, Variable } from '@pulsebox/loop';
import { connectionConfig } from '@pulsebox/postgres';
import type { ClientConfig } from 'pg';

const POSTGRES = ['postgres:', 'postgresql:'] as const;

export const databaseVariables: {
  readonly DATABASE_URL: Variable<string | undefined>;
  readonly DATABASE_DIRECT_URL: Variable<string | undefined>;
  readonly DATABASE_POOL_SIZE: Variable<number>;
  readonly POSTGRES_HOST: Variable<string | undefined>;
  readonly POSTGRES_PORT: Variable<number>;
  readonly POSTGRES_DB: Variable<string>;
  readonly POSTGRES_USER: Variable<string>;
  readonly POSTGRES_PASSWORD: Variable<string | undefined>;
} = {
  DATABASE_URL: env.optional(
    env.url({
      description: 'postgres://user:password@host:5432/database. May point to a pooler in transaction mode.',
      protocols: POSTGRES,
      secret: true,
    }),
  ),
  DATABASE_DIRECT_URL: env.optional(
    env.url({
      description: 'The same database without the pooler, for LISTEN and migrations. Unset: DATABASE_URL.',
      protocols: POSTGRES,
      secret: true,
    }),
  ),
  DATABASE_POOL_SIZE: env.integer({
    description: 'The most connections that one process opens, LISTEN not counted.',
    default: 5,
    min: 2,
    max: 1_000,
  }),
  POSTGRES_HOST: env.optional(env.string({ description: 'The host, when DATABASE_URL is not set.' })),
  POSTGRES_PORT: env.port({ description: 'The port, when DATABASE_URL is not set.', default: 5432 }),
  POSTGRES_DB: env.string({
    description: 'The database, when DATABASE_URL is not set.',
    default: 'postgres',
  }),
  POSTGRES_USER: env.string({ description: 'The role, when DATABASE_URL is not set.', default: 'postgres' }),
  POSTGRES_PASSWORD: env.optional(env.secret({ description: 'The password, when DATABASE_URL is not set.' })),
};

export type DatabaseConfig = Environment<typeof databaseVariables>;

/** A rule for `WorkerCommand.check`: says what is expected when no database is named at all. */
export function checkDatabase(config: DatabaseConfig): readonly string[] {
  if (config.DATABASE_URL !== undefined || config.POSTGRES_HOST !== undefined) return [];
  return [
    'expected DATABASE_URL (postgres://user:password@host:5432/database) or POSTGRES_HOST with POSTGRES_PORT, POSTGRES_DB, POSTGRES_USER and POSTGRES_PASSWORD, but neither is set; `npm start` brings a database of its own',
  ];
}

export interface Connections {
  /** For everything on the hot path; may be a pooler. */
  readonly pooled: ClientConfig;
  /** For LISTEN and migrations: needs a session. */
  readonly direct: ClientConfig;
}

export function connections(config: DatabaseConfig, applicationName: string): Connections {
  const pooled = connectionConfig(
    {
      url: config.DATABASE_URL,
      host: config.POSTGRES_HOST,
      port: config.POSTGRES_PORT,
      database: config.POSTGRES_DB,
      user: config.POSTGRES_USER,
      password: config.POSTGRES_PASSWORD,
    },
    applicationName,
  );
  const direct =
    config.DATABASE_DIRECT_URL === undefined
      ? pooled
      : connectionConfig({ url: config.DATABASE_DIRECT_URL }, applicationName);
  return { pooled, direct };
}
