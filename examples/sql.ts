// Runs SQL where no other client is at hand: npx node examples/sql.ts "select 1", or < statements.sql

import { text } from 'node:stream/consumers';
import type { QueryResult } from 'pg';
import { openDatabase } from './database.ts';

const sql = process.argv[2] ?? (await text(process.stdin));
const pool = openDatabase();
try {
  // Several statements have several results.
  const results: QueryResult[] = [await pool.query(sql)].flat();
  for (const { rows, command, rowCount } of results) {
    if (rows.length > 0) console.table(rows);
    else console.log(`${command} ${rowCount ?? ''}`.trim());
  }
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
} finally {
  await pool.end();
}
