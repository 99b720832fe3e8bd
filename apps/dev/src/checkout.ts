// Where things are in a checkout.

import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/** From src/ and from dist/ it is the same way up. */
const root = fileURLToPath(new URL('../../../', import.meta.url));

/** Git-ignored: data, logs, and what a running `npm start` says of itself. */
const named = process.env['PULSEBOX_STATE']?.trim() ?? '';
const state = named === '' ? join(root, '.pulsebox') : resolve(named);

export const checkout: {
  readonly root: string;
  readonly state: string;
  readonly database: string;
  readonly databasePassword: string;
  readonly databaseLog: string;
  readonly vapidKeys: string;
  readonly files: string;
  readonly runFile: string;
  readonly startLock: string;
} = {
  root,
  state,
  database: join(state, 'postgres'),
  databasePassword: join(state, 'postgres-password'),
  databaseLog: join(state, 'postgres.log'),
  vapidKeys: join(state, 'vapid.json'),
  files: join(state, 'files'),
  runFile: join(state, 'run.json'),
  startLock: join(state, 'start.lock'),
};
