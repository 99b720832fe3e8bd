// What upkeep removes, as environment variables. How long the log is kept stands with the log.

import { env } from '@pulsebox/loop';
import type { Environment, Variable } from '@pulsebox/loop';

export const upkeepVariables: {
  readonly OUTBOX_DEAD_LETTER_DAYS: Variable<number | undefined>;
  readonly GMAIL_PUBSUB_DEAD_LETTER_DAYS: Variable<number>;
} = {
  OUTBOX_DEAD_LETTER_DAYS: env.optional(
    env.integer({
      description:
        'Dead letters that failed last so many days ago are discarded, and what waits behind them goes on. Unset: they are kept until a person decides.',
      min: 1,
      max: 3_650,
    }),
  ),
  GMAIL_PUBSUB_DEAD_LETTER_DAYS: env.integer({
    description: 'Messages from Pub/Sub that could not be understood are removed after so many days.',
    default: 30,
    min: 1,
    max: 3_650,
  }),
};

export type UpkeepConfig = Environment<typeof upkeepVariables>;
