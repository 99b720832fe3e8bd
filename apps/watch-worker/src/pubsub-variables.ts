// Where Gmail's notifications come in, as environment variables.

import { env } from '@pulsebox/loop';
import type { Environment, Variable } from '@pulsebox/loop';
import { checkCredentials, PubSubError } from '@pulsebox/pubsub';
import type { PubSubConnection } from '@pulsebox/pubsub';
import { emulatorVariables } from '@pulsebox/worker-base';

export const pubsubVariables: {
  readonly GMAIL_PUBSUB_PROJECT_ID: Variable<string | undefined>;
  readonly GMAIL_PUBSUB_SUBSCRIPTION: Variable<string | undefined>;
  readonly GMAIL_PUBSUB_CREDENTIALS_FILE: Variable<string | undefined>;
  readonly GMAIL_PUBSUB_BATCH_SIZE: Variable<number>;
  readonly PUBSUB_EMULATOR_HOST: Variable<string | undefined>;
} = {
  GMAIL_PUBSUB_PROJECT_ID: env.optional(
    env.string({ description: 'The Google Cloud project of the subscription. Unset: nothing is pulled.' }),
  ),
  GMAIL_PUBSUB_SUBSCRIPTION: env.optional(
    env.string({
      description: 'The subscription on the topic that Gmail publishes to, for instance mail-changes.',
    }),
  ),
  GMAIL_PUBSUB_CREDENTIALS_FILE: env.optional(
    env.string({
      description: 'A JSON key of a service account. Unset: the application default credentials.',
    }),
  ),
  GMAIL_PUBSUB_BATCH_SIZE: env.integer({
    description: 'The most notifications that are handled in one transaction (--batch-size).',
    default: 500,
    min: 1,
    max: 1_000,
  }),
  ...emulatorVariables,
};

export type PubSubConfig = Environment<typeof pubsubVariables>;

export interface MailSubscription {
  readonly connection: PubSubConnection;
  readonly subscription: string;
}

/** A rule for `WorkerCommand.check`: both or neither of project and subscription, and credentials that are some. */
export function checkPubSub(config: PubSubConfig): readonly string[] {
  const { GMAIL_PUBSUB_PROJECT_ID: project, GMAIL_PUBSUB_SUBSCRIPTION: subscription } = config;
  if ((project === undefined) !== (subscription === undefined)) {
    return [
      `expected GMAIL_PUBSUB_PROJECT_ID and GMAIL_PUBSUB_SUBSCRIPTION both to be set, or neither, but only ${
        project === undefined ? 'GMAIL_PUBSUB_SUBSCRIPTION' : 'GMAIL_PUBSUB_PROJECT_ID'
      } is`,
    ];
  }
  const found = subscriptionOf(config);
  if (found === undefined) return [];
  try {
    checkCredentials(found.connection);
    return [];
  } catch (error) {
    if (!(error instanceof PubSubError)) throw error;
    return [`GMAIL_PUBSUB_CREDENTIALS_FILE: ${error.message}; ${error.hint}`];
  }
}

/** Undefined: not configured. */
export function subscriptionOf(config: PubSubConfig): MailSubscription | undefined {
  const { GMAIL_PUBSUB_PROJECT_ID: projectId, GMAIL_PUBSUB_SUBSCRIPTION: subscription } = config;
  if (projectId === undefined || subscription === undefined) return undefined;
  return {
    connection: {
      projectId,
      credentialsFile: config.GMAIL_PUBSUB_CREDENTIALS_FILE,
      emulatorHost: config.PUBSUB_EMULATOR_HOST,
    },
    subscription,
  };
}
