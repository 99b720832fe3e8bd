// Where things are in a checkout.

import { fileURLToPath } from 'node:url';

/** From src/ and from dist/ it is the same way up. */
const root = new URL('../../../', import.meta.url);

export const checkout: {
  readonly root: string;
  /** Git-ignored: data, logs, and what a running `npm start` says of itself. */
  readonly state: string;
  readonly database: string;
  readonly databasePassword: string;
  readonly databaseLog: string;
  readonly runFile: string;
} = {
  root: fileURLToPath(root),
  state: fileURLToPath(new URL('.pulsebox/', root)),
  database: fileURLToPath(new URL('.pulsebox/postgres', root)),
  databasePassword: fileURLToPath(new URL('.pulsebox/postgres-password', root)),
  databaseLog: fileURLToPath(new URL('.pulsebox/postgres.log', root)),
  runFile: fileURLToPath(new URL('.pulsebox/run.json', root)),
};
