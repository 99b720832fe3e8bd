-- Mailboxes that are read on behalf of their users, and the messages found in them. Needs the application's schema.

create table app.mail_connections (
  connection_id      uuid primary key default gen_random_uuid(),
  -- Who connected the mailbox, and is told of new mail: the user of `push.requested`.
  user_id            text not null,
  -- Whose it is. Searches never cross organisations.
  org_id             text not null,
  -- The address as Google writes it; compared without case. Several connections may have the same one.
  email              text not null,

  -- Encrypted, `v1.KEY.…` (packages/gmail, src/token-vault.ts): bound to this row and column, worthless elsewhere.
  refresh_token      text not null check (refresh_token like 'v1.%'),
  access_token       text check (access_token like 'v1.%'),
  access_token_expires_at timestamptz,
  -- What the grant allows, as Google's URLs. Text of messages is read only where one of them allows it.
  scopes             text[] not null default '{}',

  -- `revoked`: Google takes the grant no longer; only connecting again helps. `disconnected`: the application or a
  -- person has switched it off. Neither is asked for again.
  state              text not null default 'active' check (state in ('active', 'revoked', 'disconnected')),
  -- For a person: what happened and what to do. Null while all is well.
  state_reason       text,
  -- Whether `push.requested` is emitted for new mail in the inbox.
  notify             boolean not null default true,

  -- The mailbox is read up to here. Google's ids are unsigned 64-bit numbers. Null: never read in full.
  history_id         numeric(20, 0) check (history_id >= 0),
  -- The newest id that Pub/Sub has told of, and when that came.
  notified_history_id numeric(20, 0) check (notified_history_id >= 0),
  notified_at        timestamptz,

  -- The watch that Google keeps for us: without one nothing is told. Null: none is known.
  watch_topic        text,
  watch_expires_at   timestamptz,
  -- Why the last attempt to register it failed. Null: it did not.
  watch_error        text,

  -- A full sync under way: the history id from before it began listing (null: none is under way), the page that comes
  -- next (null: the first), how many messages it has been through, and Google's own estimate of how many there are.
  full_sync_base     numeric(20, 0) check (full_sync_base >= 0),
  full_sync_page     text,
  full_sync_counted  bigint not null default 0,
  full_sync_total    bigint,
  -- Counts full syncs. Messages carry the number of the last one that met them; what the last one did not meet is gone.
  full_sync_number   integer not null default 0,
  -- Counts the events by which a long sync hands on to itself: one that is not the latest is out of date.
  continuation       bigint not null default 0,

  last_synced_at     timestamptz,
  last_full_sync_at  timestamptz,
  -- When a sync was last asked for because nothing had been heard of the mailbox for long.
  fallback_at        timestamptz,
  -- Why the last sync failed, in words without secrets. Null: it did not.
  last_error         text,
  last_error_at      timestamptz,

  created_at         timestamptz not null default now(),
  updated_at         timestamptz not null default now()
);

-- One connection for a user and an address: connecting again replaces the grant.
create unique index mail_connection_user on app.mail_connections (org_id, user_id, lower(email));

-- Notifications name an address.
create index mail_connection_email on app.mail_connections (lower(email));

comment on table app.mail_connections is
  'Gmail mailboxes. Tokens are encrypted under ENCRYPTION_KEY; `pulsebox mail connect` adds a row, `pulsebox mail status` shows them.';

-- Whatever a late or confused writer stores, what has been read stays read: the greater id stays.
create function app.keep_history_id() returns trigger language plpgsql as $$
begin
  if new.history_id is null or new.history_id < old.history_id then
    new.history_id := old.history_id;
  end if;
  if new.notified_history_id is null or new.notified_history_id < old.notified_history_id then
    new.notified_history_id := old.notified_history_id;
  end if;
  return new;
end $$;

create trigger keep_history_id before update of history_id, notified_history_id on app.mail_connections
  for each row execute function app.keep_history_id();

create table app.mail_messages (
  mail_id       uuid primary key default gen_random_uuid(),
  connection_id uuid not null references app.mail_connections on delete cascade,
  -- Google's ids of the message, unique within its mailbox, and of the conversation that it belongs to.
  gmail_id      text not null,
  thread_id     text not null,
  -- `INBOX`, `UNREAD`, `SPAM` and the mailbox's own. Those of the last look.
  labels        text[] not null default '{}',
  sender        text not null default '',
  recipients    text not null default '',
  subject       text not null default '',
  -- Google's extract of some words.
  snippet       text not null default '',
  -- The first 100,000 characters of its text. Null: the grant does not allow to read it, or the message is too large.
  text          text,
  -- When Google received it.
  sent_at       timestamptz not null,
  size_bytes    bigint not null default 0,
  -- The number of the last full sync that met it.
  seen_in       integer not null default 0,
  -- When its user was told of it. Null: never; mail that was there before the mailbox was connected, for instance.
  notified_at   timestamptz,
  -- Gone from the mailbox. The row stays, so that the search index learns of it.
  deleted_at    timestamptz,
  created_at    timestamptz not null default now(),
  updated_at    timestamptz not null default now(),
  unique (connection_id, gmail_id)
);

-- What is searched: id, organisation, document, deleted. Mail in the trash and spam is not found.
create view app.mail_documents as
  select m.mail_id as id,
         c.org_id as organisation,
         jsonb_build_object(
           'subject', m.subject, 'sender', m.sender, 'recipients', m.recipients, 'snippet', m.snippet,
           'text', m.text, 'labels', m.labels, 'thread_id', m.thread_id, 'gmail_id', m.gmail_id,
           'connection_id', m.connection_id, 'user_id', c.user_id, 'mailbox', c.email,
           'sent_at', m.sent_at) as document,
         m.deleted_at is not null or m.labels && '{SPAM,TRASH}' as deleted
  from app.mail_messages m
  join app.mail_connections c using (connection_id);
