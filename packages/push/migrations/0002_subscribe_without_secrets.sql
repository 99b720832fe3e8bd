-- What a page hands over is checked before it is written: a constraint that fails tells the whole row in its error, and
-- with it the endpoint and the keys, which then stand in the application's log.

create or replace function app.push_subscribe(
  user_id text, endpoint text, p256dh text, auth text, user_agent text default null
) returns bigint language plpgsql as $$
#variable_conflict use_column
declare
  -- Some pages send base64 in the place of base64url, or with padding.
  given_p256dh text := translate(rtrim(push_subscribe.p256dh, '='), '+/', '-_');
  given_auth   text := translate(rtrim(push_subscribe.auth, '='), '+/', '-_');
  -- For people, and of any length.
  given_agent  text := left(push_subscribe.user_agent, 250);
  fault        text := case
    when coalesce(push_subscribe.user_id, '') = '' or octet_length(push_subscribe.user_id) > 500
      then 'user_id: expected 1 to 500 bytes'
    when coalesce(push_subscribe.endpoint, '') not like 'https://%' or octet_length(push_subscribe.endpoint) > 2000
      then 'endpoint: expected a URL of https:// and at most 2,000 bytes'
    when coalesce(given_p256dh, '') !~ '^[A-Za-z0-9_-]{87}$' then 'p256dh: expected 65 bytes in base64url'
    when coalesce(given_auth, '') !~ '^[A-Za-z0-9_-]{22}$' then 'auth: expected 16 bytes in base64url'
  end;
  subscribed   bigint;
begin
  if fault is not null then
    raise exception using errcode = 'check_violation', message = 'a push subscription with a wrong ' || fault,
      hint = 'Hand on endpoint, keys.p256dh and keys.auth of PushSubscription.toJSON() as they are.';
  end if;
  insert into app.push_subscriptions as s (user_id, endpoint, p256dh, auth, user_agent)
    values (push_subscribe.user_id, push_subscribe.endpoint, given_p256dh, given_auth, given_agent)
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
