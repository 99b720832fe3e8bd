// How pushes are sent, as environment variables.

import { env } from '@pulsebox/loop';
import type { Environment, Variable } from '@pulsebox/loop';
import { LONGEST_TTL_SECONDS, parseOrigin, parseVapid, PushError } from '@pulsebox/push';
import type { Vapid } from '@pulsebox/push';

export const pushVariables: {
  readonly PUSH_WORKER_POLL_SECONDS: Variable<number>;
  readonly PUSH_BATCH_SIZE: Variable<number>;
  readonly VAPID_PUBLIC_KEY: Variable<string | undefined>;
  readonly VAPID_PRIVATE_KEY: Variable<string | undefined>;
  readonly VAPID_SUBJECT: Variable<string | undefined>;
  readonly PUSH_CONCURRENCY: Variable<number>;
  readonly PUSH_TIMEOUT_SECONDS: Variable<number>;
  readonly PUSH_TTL_SECONDS: Variable<number>;
  readonly PUSH_ALLOWED_ORIGINS: Variable<string | undefined>;
  readonly PUSH_PRIVATE_ORIGINS: Variable<string | undefined>;
} = {
  PUSH_WORKER_POLL_SECONDS: env.seconds({
    description: 'The longest that readers and queues of push rest while nothing notifies them (--interval).',
    default: 1,
  }),
  // Twice that of other groups: at the end of a batch fewer are in flight than may be, and nothing but memory, which is
  // bounded by bytes, grows with it. What a crash repeats does not: each delivery is recorded by itself.
  PUSH_BATCH_SIZE: env.integer({
    description: 'The most events whose deliveries are sent together (--batch-size).',
    default: 1_000,
    min: 1,
    max: 100_000,
  }),
  VAPID_PUBLIC_KEY: env.optional(
    env.string({
      description: 'What pages subscribe with; `pulsebox vapid` makes a pair. Unset: push is off.',
    }),
  ),
  VAPID_PRIVATE_KEY: env.optional(env.secret({ description: 'The other half of VAPID_PUBLIC_KEY.' })),
  VAPID_SUBJECT: env.optional(
    env.string({
      description: 'mailto:somebody@a-domain or https://: whom push services tell when something is wrong.',
    }),
  ),
  PUSH_CONCURRENCY: env.integer({
    description: 'The most deliveries in flight. Also the most that a crash can repeat.',
    default: 200,
    min: 1,
    max: 10_000,
  }),
  PUSH_TIMEOUT_SECONDS: env.seconds({
    description: 'The longest one delivery may take, from the look at DNS to the end of the answer.',
    default: 10,
  }),
  PUSH_TTL_SECONDS: env.integer({
    description: 'How long a message waits for a device that is away, when its event does not say.',
    default: 86_400,
    min: 0,
    max: LONGEST_TTL_SECONDS,
  }),
  PUSH_ALLOWED_ORIGINS: env.optional(
    env.string({
      description: 'Push services that may be sent to, with commas between them. Unset: every public one.',
    }),
  ),
  PUSH_PRIVATE_ORIGINS: env.optional(
    env.string({ description: 'Push services of your own that may have private addresses, and any port.' }),
  ),
};

export type PushConfig = Environment<typeof pushVariables>;

/** A rule for `WorkerCommand.check`: every fault, in words that show no key. */
export function checkPush(config: PushConfig): readonly string[] {
  return [
    ...checkVapid(config),
    ...['PUSH_ALLOWED_ORIGINS' as const, 'PUSH_PRIVATE_ORIGINS' as const].flatMap((name) =>
      faultsOf(() => originsOf(config[name])).map((fault) => `${name}: ${fault}`),
    ),
  ];
}

/** Undefined: push is off. */
export function vapidOf(config: PushConfig): Vapid | undefined {
  const { VAPID_PUBLIC_KEY: publicKey, VAPID_PRIVATE_KEY: privateKey, VAPID_SUBJECT: subject } = config;
  if (publicKey === undefined || privateKey === undefined || subject === undefined) return undefined;
  return { publicKey, privateKey, subject };
}

/** @throws PUSH_OPTIONS_INVALID */
export function originsOf(list: string | undefined): readonly string[] | undefined {
  return list?.split(',').map((origin) => parseOrigin(origin.trim()));
}

/** The subject alone does no harm: a deployment may set it once for all. */
function checkVapid(config: PushConfig): readonly string[] {
  if (config.VAPID_PUBLIC_KEY === undefined && config.VAPID_PRIVATE_KEY === undefined) return [];
  const missing = (['VAPID_PUBLIC_KEY', 'VAPID_PRIVATE_KEY', 'VAPID_SUBJECT'] as const).filter(
    (name) => config[name] === undefined,
  );
  if (missing.length > 0) {
    return [
      `expected VAPID_PUBLIC_KEY, VAPID_PRIVATE_KEY and VAPID_SUBJECT together, but unset: ${missing.join(', ')}; without keys push is off`,
    ];
  }
  const vapid = vapidOf(config);
  return vapid === undefined ? [] : faultsOf(() => parseVapid(vapid));
}

function faultsOf(parse: () => unknown): readonly string[] {
  try {
    parse();
    return [];
  } catch (error) {
    if (!(error instanceof PushError)) throw error;
    return [`${error.message}; ${error.hint}`];
  }
}
