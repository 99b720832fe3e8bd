-- Messages that are gone from their mailbox, the one that went first in front: those that went long ago are removed. Where
-- there are very many messages, making the index keeps syncs waiting for as long as it takes to read them.
create index mail_message_deleted on app.mail_messages (deleted_at) where deleted_at is not null;

comment on column app.mail_messages.deleted_at is
  'When it was found to be gone from the mailbox. The row is removed GMAIL_DELETED_MAIL_DAYS later.';
