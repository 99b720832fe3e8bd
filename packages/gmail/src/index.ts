import type { MigrationSet } from '@pulsebox/postgres';

export type { ConnectedMailbox, ConnectMailboxOptions } from './connect-mailbox.ts';
export { connectMailbox } from './connect-mailbox.ts';
export type { MailConnectionState, MatchedConnection } from './connections.ts';
export { matchConnections } from './connections.ts';
export { requestOutcomes } from './gmail-client.ts';
export type { GmailErrorCode, GmailErrorOptions } from './gmail-error.ts';
export { GmailError, gmailErrorCodes } from './gmail-error.ts';
export type { GmailMetrics } from './gmail-metrics.ts';
export { gmailMetrics } from './gmail-metrics.ts';
export type { EncryptionKey, Keyring } from './keyring.ts';
export { parseKeyring } from './keyring.ts';
export type { Mail, MailOptions, MailSyncOptions } from './mail.ts';
export { createMail } from './mail.ts';
export type { MailboxGaugesOptions } from './mailbox-gauges.ts';
export { mailboxGauges } from './mailbox-gauges.ts';
export type { MailboxStatus } from './mailbox-status.ts';
export { mailboxStatus } from './mailbox-status.ts';
export type { MailNotification, RecordedNotifications } from './notifications.ts';
export { recordNotifications } from './notifications.ts';
export type { Consent, OAuthClient, Tokens } from './oauth.ts';
export { consentPage, exchangeCode } from './oauth.ts';
export type { RotateKeysOptions, RotateKeysReport } from './rotate-keys.ts';
export { rotateKeys } from './rotate-keys.ts';
export { syncOutcomes } from './sync-mailbox.ts';
export type { TokenColumn, TokenPlace, TokenVault } from './token-vault.ts';
export { createTokenVault } from './token-vault.ts';
export type { MailUpkeepOptions, MailUpkeepReport } from './upkeep.ts';
export { keepMailboxes, mailUpkeep } from './upkeep.ts';

/** Mailboxes and their messages, and the view that makes them searchable. Needs the application's tables. */
export const gmailMigrations: MigrationSet = {
  name: 'gmail',
  directory: new URL('../migrations/', import.meta.url),
};
