// The bridge to Pub/Sub, as environment variables.

import { env } from '@pulsebox/loop';
import type { Environment, Registry, Variable } from '@pulsebox/loop';
import { bridgeMetrics, checkCredentials, createBridge, PubSubError } from '@pulsebox/pubsub';
import type { Bridge, BridgeOptions } from '@pulsebox/pubsub';
import { emulatorVariables } from '@pulsebox/worker-base';

export const bridgeVariables: {
  readonly BRIDGE_PUBSUB_PROJECT_ID: Variable<string | undefined>;
  readonly BRIDGE_PUBSUB_TOPIC: Variable<string | undefined>;
  readonly BRIDGE_PUBSUB_CREDENTIALS_FILE: Variable<string | undefined>;
  readonly BRIDGE_TOPICS: Variable<string>;
  readonly PUBSUB_EMULATOR_HOST: Variable<string | undefined>;
} = {
  BRIDGE_PUBSUB_PROJECT_ID: env.optional(
    env.string({ description: 'The Google Cloud project of the topic. Unset: the bridge is off.' }),
  ),
  BRIDGE_PUBSUB_TOPIC: env.optional(
    env.string({ description: 'The topic of Pub/Sub that events are published to, for instance events.' }),
  ),
  BRIDGE_PUBSUB_CREDENTIALS_FILE: env.optional(
    env.string({
      description: 'A JSON key of a service account. Unset: the application default credentials.',
    }),
  ),
  BRIDGE_TOPICS: env.string({
    description: 'The topics of the log that are published, with commas between them: item.upserted, item.*',
    default: '*',
  }),
  ...emulatorVariables,
};

export type BridgeConfig = Environment<typeof bridgeVariables>;

/** A rule for `WorkerCommand.check`: both or neither of project and topic, and names and credentials that are some. */
export function checkBridge(config: BridgeConfig): readonly string[] {
  const { BRIDGE_PUBSUB_PROJECT_ID: project, BRIDGE_PUBSUB_TOPIC: topic } = config;
  if ((project === undefined) !== (topic === undefined)) {
    return [
      `expected BRIDGE_PUBSUB_PROJECT_ID and BRIDGE_PUBSUB_TOPIC both to be set, or neither, but only ${
        project === undefined ? 'BRIDGE_PUBSUB_TOPIC' : 'BRIDGE_PUBSUB_PROJECT_ID'
      } is`,
    ];
  }
  const options = optionsOf(config);
  if (options === undefined) return [];
  return [() => createBridge(options), () => checkCredentials(options.connection)].flatMap(faultOf);
}

/** Undefined: not configured. */
export function openBridge(config: BridgeConfig, registry: Registry): Bridge | undefined {
  const options = optionsOf(config);
  return options === undefined ? undefined : createBridge({ ...options, metrics: bridgeMetrics(registry) });
}

function optionsOf(config: BridgeConfig): BridgeOptions | undefined {
  const { BRIDGE_PUBSUB_PROJECT_ID: projectId, BRIDGE_PUBSUB_TOPIC: topic } = config;
  if (projectId === undefined || topic === undefined) return undefined;
  return {
    connection: {
      projectId,
      credentialsFile: config.BRIDGE_PUBSUB_CREDENTIALS_FILE,
      emulatorHost: config.PUBSUB_EMULATOR_HOST,
    },
    topic,
    events: config.BRIDGE_TOPICS.split(',')
      .map((name) => name.trim())
      .filter((name) => name !== ''),
  };
}

function faultOf(attempt: () => unknown): string[] {
  try {
    attempt();
    return [];
  } catch (error) {
    if (!(error instanceof PubSubError)) throw error;
    return [`${error.message}; ${error.hint}`];
  }
}
