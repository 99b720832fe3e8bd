import type { MigrationSet } from '@pulsebox/postgres';

export type { MailConnectionState, MatchedConnection } from './connections.ts';
export { matchConnections } from './connections.ts';
export type { MailNotification, RecordedNotifications } from './notifications.ts';
export { recordNotifications } from './notifications.ts';

/** Mailboxes and their messages, and the view that makes them searchable. Needs the application's tables. */
export const gmailMigrations: MigrationSet = {
  name: 'gmail',
  directory: new URL('../migrations/', import.meta.url),
};
