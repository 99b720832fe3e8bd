// Every environment variable that pulsebox reads.

import { env } from '@pulsebox/loop';
import type { EnvironmentSchema } from '@pulsebox/loop';
import {
  databaseVariables,
  fileStorageVariables,
  mailVariables,
  runtimeVariables,
  searchVariables,
} from '@pulsebox/worker-base';
import { notifyChannelVariable } from './notify-channel-variable.ts';

const { DATABASE_POOL_SIZE: _ofWorkers, ...database } = databaseVariables;
const { MEILI_BATCH_SIZE: _ofTheWorker, ...search } = searchVariables;

export const cliVariables: EnvironmentSchema = {
  ...database,
  ...notifyChannelVariable,
  ...search,
  ...mailVariables,
  ...fileStorageVariables,
  ...runtimeVariables,
  PULSEBOX_STATE: env.optional(
    env.string({
      description: 'Where npm start keeps its data and says where it runs. Unset: .pulsebox in the checkout.',
    }),
  ),
  WORKER_HEALTH_PORT: env.optional(
    env.port({ description: 'Where status and doctor ask a worker for its health.' }),
  ),
};
