// The channel that migrate stores in the database. By itself, so that whoever lists variables does not load all migrations.

import { env } from '@pulsebox/loop';
import type { Variable } from '@pulsebox/loop';

/** Read by `migrate` alone: everybody else asks the database. */
export const notifyChannelVariable: { readonly OUTBOX_NOTIFY_CHANNEL: Variable<string | undefined> } = {
  OUTBOX_NOTIFY_CHANNEL: env.optional(
    env.string({
      description:
        'The channel on which producers wake workers; `pulsebox migrate` stores it in the database.',
    }),
  ),
};
