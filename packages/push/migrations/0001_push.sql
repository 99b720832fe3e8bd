-- Who is to be notified where, and what has been delivered already. Needs the application's schema.

-- One row for each browser that a user has allowed to notify. Written by the application when a page subscribes
-- (app.push_subscribe below, or a plain upsert), read by the push worker, which also removes those that are over.
create table app.push_subscriptions (
  subscription_id bigint generated always as identity primary key,
  -- Whom `push.requested` names.
  user_id         text not null check (user_id <> '' and octet_length(user_id) <= 500),
  -- Where the browser's push service takes messages for it. A secret: whoever knows it can address the browser.
  -- Unique: a browser that subscribes again has the same endpoint with new keys, or another endpoint.
  endpoint        text not null unique check (endpoint like 'https://%' and octet_length(endpoint) <= 2000),
  -- The browser's public key and its secret, base64url without padding, as PushSubscription.toJSON() has them.
  p256dh          text not null check (p256dh ~ '^[A-Za-z0-9_-]{87}$'),
  auth            text not null check (auth ~ '^[A-Za-z0-9_-]{22}$'),
  -- For people who ask which device this is.
  user_agent      text check (octet_length(user_agent) <= 1000),
  created_at      timestamptz not null default now(),
  -- When its push service last took a message, exact to the hour: a row version for each message would be a waste.
  last_success_at timestamptz,
  -- Attempts that failed since the last success.
  failure_count   integer not null default 0
) with (fillfactor = 90);

-- Fan-out: all subscriptions of the users of a batch.
create index push_subscription_user on app.push_subscriptions (user_id, subscription_id);

create function app.push_subscribe(
  user_id text, endpoint text, p256dh text, auth text, user_agent text default null
) returns bigint language plpgsql as $$
#variable_conflict use_column
declare
  -- Some pages send base64 in the place of base64url, or with padding.
  given_p256dh text := translate(rtrim(push_subscribe.p256dh, '='), '+/', '-_');
  given_auth   text := translate(rtrim(push_subscribe.auth, '='), '+/', '-_');
  subscribed   bigint;
begin
  insert into app.push_subscriptions as s (user_id, endpoint, p256dh, auth, user_agent)
    values (push_subscribe.user_id, push_subscribe.endpoint, given_p256dh, given_auth, push_subscribe.user_agent)
    on conflict (endpoint) do update
      set user_id = excluded.user_id, p256dh = excluded.p256dh, auth = excluded.auth,
          user_agent = coalesce(excluded.user_agent, s.user_agent), failure_count = 0
      -- Pages tell us at every visit: what has not changed is not written again.
      where (s.user_id, s.p256dh, s.auth) is distinct from (excluded.user_id, excluded.p256dh, excluded.auth)
         or s.user_agent is distinct from coalesce(excluded.user_agent, s.user_agent)
    returning s.subscription_id into subscribed;
  if subscribed is null then
    select s.subscription_id into subscribed
      from app.push_subscriptions s where s.endpoint = push_subscribe.endpoint;
  end if;
  return subscribed;
end $$;

comment on function app.push_subscribe is
  'Stores a browser''s push subscription for a user, or brings its keys up to date. Result: its id.';

create schema push;

-- What became of an event at a subscription. A batch, or a broadcast, that is delivered again after a crash passes over
-- what stands here. A row is kept for as long as its event could still be sent, and no longer.
create table push.delivery (
  -- Of the event, in the log.
  position        bigint not null,
  -- No foreign key: a subscription that was removed must not be met again under its old number, and never is.
  subscription_id bigint not null,
  -- `waiting`: a job tries it again. `rejected` is tried again when a person replays the event; nothing else is.
  outcome         text not null check (outcome in (
    'sent', 'gone', 'waiting', 'rejected', 'expired', 'superseded', 'forbidden', 'invalid')),
  -- Of the message: a retry that comes after a later message of its topic is dropped.
  topic           text,
  -- When the event's time to live is over, with an hour to spare.
  expires_at      timestamptz not null,
  primary key (position, subscription_id)
);

-- Retention: what has expired, oldest first.
create index delivery_expires_at on push.delivery (expires_at);

-- Is there a later message of this topic?
create index delivery_topic on push.delivery (subscription_id, topic, position) where topic is not null;
