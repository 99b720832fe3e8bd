// One thing that the doctor looks at.

import type { Pool } from 'pg';
import type { Database } from '../database.ts';
import type { Finding } from './finding.ts';

export interface Patient {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly database: Database;
  readonly pool: Pool;
  /** Transactions open for longer than this are worth a warning. */
  readonly longTransactionMinutes: number;
}

export interface Check {
  /** In the report and in --json; stable. */
  readonly name: string;
  /** What must be there for the check to make sense: a database that answers, or also the tables of the log in it. */
  readonly needs: 'nothing' | 'connection' | 'schema';
  /** One finding or several. A rejection becomes a finding, too. */
  run(patient: Patient): Promise<Finding | readonly Finding[]>;
}
