// The least that a function here needs of a connection: a pool, a client, or a client inside a transaction.

import type { Pool, PoolClient, ClientBase } from 'pg';

export type Queryable = Pick<ClientBase, 'query'> | Pick<Pool, 'query'> | Pick<PoolClient, 'query'>;
