// The database of the examples: that of a running `npm start`, whose URL it prints, or one of your own.

import { createPool } from '@pulsebox/postgres';
import type { Pool } from 'pg';

export function openDatabase(): Pool {
  const connectionString = process.env['DATABASE_URL'];
  if (connectionString === undefined || connectionString === '') {
    console.error('expected DATABASE_URL to be set; `npm start` prints that of its database');
    process.exit(2);
  }
  return createPool({ connection: { connectionString }, onIdleError: console.error });
}
