import type { MigrationFolder } from '@pulsebox/postgres';

export type { DeliveryOutcome } from './delivery.ts';
export { deliveryOutcomes } from './delivery-outcomes.ts';
export type { EndpointPolicy } from './endpoint.ts';
export { parseEndpoint, parseOrigin } from './endpoint.ts';
export type { MessageOptions, Notification, PushMessage, Urgency } from './message.ts';
export {
  createMessage,
  DEFAULT_TTL_SECONDS,
  LONGEST_PLAINTEXT,
  LONGEST_TTL_SECONDS,
  urgencies,
} from './message.ts';
export type { AttemptOutcome, PushMetrics } from './push-metrics.ts';
export { attemptOutcomes, pushMetrics } from './push-metrics.ts';
export { BROADCAST_TOPIC, REQUESTED_TOPIC } from './push-request.ts';
export { PUSH_GROUP } from './refused.ts';
export type { Push, PushOptions } from './push.ts';
export { createPush } from './push.ts';
export type { PushErrorCode } from './push-error.ts';
export { PushError, pushErrorCodes } from './push-error.ts';
export type {
  Outcome,
  OutcomeKind,
  PushSender,
  PushSenderOptions,
  SendOptions,
  SubscriptionKeys,
} from './sender.ts';
export { createPushSender } from './sender.ts';
export type { ListSubscriptionsOptions, NewSubscription, SubscriptionSummary } from './subscriptions.ts';
export { countSubscriptions, listSubscriptions, subscribe, unsubscribe } from './subscriptions.ts';
export type { Vapid, VapidKeys } from './vapid-keys.ts';
export { generateVapidKeys, parseSubject, parseVapid } from './vapid-keys.ts';

/** Subscriptions, and the records of deliveries. Needs the application's tables, and those of `@pulsebox/jobs`. */
export const pushMigrations: MigrationFolder = {
  name: 'push',
  directory: new URL('../migrations/', import.meta.url),
};
