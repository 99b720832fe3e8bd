// An emulator in the place of Google's services, as an environment variable.

import { env } from '@pulsebox/loop';
import type { Variable } from '@pulsebox/loop';

export const emulatorVariables: {
  readonly PUBSUB_EMULATOR_HOST: Variable<string | undefined>;
} = {
  PUBSUB_EMULATOR_HOST: env.optional(
    env.string({
      description: 'host:port of an emulator of Pub/Sub, instead of Google: no TLS, no credentials.',
    }),
  ),
};
