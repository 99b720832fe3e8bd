export type { EndpointPolicy } from './endpoint.ts';
export { parseEndpoint } from './endpoint.ts';
export type { MessageOptions, Notification, PushMessage, Urgency } from './message.ts';
export {
  createMessage,
  DEFAULT_TTL_SECONDS,
  LONGEST_PLAINTEXT,
  LONGEST_TTL_SECONDS,
  urgencies,
} from './message.ts';
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
export type { Vapid, VapidKeys } from './vapid-keys.ts';
export { generateVapidKeys, parseSubject, parseVapid } from './vapid-keys.ts';
