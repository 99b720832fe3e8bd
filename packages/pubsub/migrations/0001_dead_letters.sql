-- What has come in from Pub/Sub and could not be understood.

create schema pubsub;

-- Messages that were no notification. They are acknowledged, since Pub/Sub would only deliver them again.
create table pubsub.dead_letter (
  subscription text not null,
  -- Pub/Sub's own, unique in the topic: one that is delivered twice is kept once.
  message_id   text not null,
  published_at timestamptz not null,
  received_at  timestamptz not null default now(),
  -- What was expected, and what came.
  reason       text not null,
  attributes   jsonb not null default '{}',
  -- As it came: it need not be text.
  data         bytea not null,
  primary key (subscription, message_id)
);

comment on table pubsub.dead_letter is
  'Messages from Pub/Sub that were no notification. `pulsebox pubsub dead` lists and discards them.';
