import type { MigrationSet } from '@pulsebox/postgres';

export type { Bridge, BridgeOptions } from './bridge.ts';
export { createBridge } from './bridge.ts';
export { loadProtocol } from './connection.ts';
export type { PubSubConnection } from './credentials.ts';
export { checkCredentials } from './credentials.ts';
export type { PubSubDeadLetter } from './dead-letter.ts';
export { countDeadLetters, discardDeadLetters, listDeadLetters, pruneDeadLetters } from './dead-letter.ts';
export type {
  MailNotificationsOptions,
  RecordedNotifications,
  RecordNotifications,
} from './mail-notifications.ts';
export { mailNotifications } from './mail-notifications.ts';
export type { MailNotification } from './notification.ts';
export type { PullHandler, PullLoopOptions } from './pull-loop.ts';
export { pullLoop } from './pull-loop.ts';
export type { PulledMessage } from './pull-stream.ts';
export type { PubSubErrorCode, PubSubErrorOptions } from './pubsub-error.ts';
export { PubSubError, pubsubErrorCodes } from './pubsub-error.ts';
export type { BridgeMetrics, PullMetrics } from './pubsub-metrics.ts';
export { bridgeMetrics, pullMetrics } from './pubsub-metrics.ts';

/** Messages that could not be understood. */
export const pubsubMigrations: MigrationSet = {
  name: 'pubsub',
  directory: new URL('../migrations/', import.meta.url),
};
