// The least that a function here needs of a connection: a pool, a client, or a client inside a transaction.

import type { Pool } from 'pg';

export type Queryable = Pick<Pool, 'query'>;
