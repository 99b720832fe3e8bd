-- Agent runtimes: for each user at most one Pod and Service in Kubernetes, and what is wished of it.

-- What a user has chosen for the agent. A runtime is given it when it starts, so changing it ends the runtime
-- (`runtime.settings_changed`). No secrets: whoever may read pods can read it.
create table app.user_agent_settings (
  user_id    text primary key check (user_id <> ''),
  -- Whose runtime it is counted as, where an event does not say.
  org_id     text not null check (org_id <> ''),
  settings   jsonb not null default '{}',
  updated_at timestamptz not null default now()
);

create table app.agent_runtimes (
  -- One runtime per user: the key says so.
  user_id        text primary key check (user_id <> ''),
  -- Whose it is: the cap counts by this.
  org_id         text not null check (org_id <> ''),
  -- Of Pod and Service: derived from the user, and the same for ever.
  name           text not null unique,

  state          text not null check (state in ('starting', 'running', 'stopping', 'stopped', 'error')),
  -- Why it is in this state, for people. Of one that is starting: what it waits for.
  reason         text not null,
  state_since    timestamptz not null default clock_timestamp(),
  -- Grows with every change but a sign of use. Whoever changes a row names the version that the decision was made on.
  version        bigint not null default 1,
  -- The last event that was heeded. An event that comes again is known by it.
  last_position  bigint,

  -- This start. The Pod carries it, so that one of an earlier start is told from one of this.
  start_id       uuid not null default gen_random_uuid(),
  requested_at   timestamptz not null default clock_timestamp(),
  -- Set: it takes one of the places that the cap allows, and something of it may be in the cluster.
  placed_at      timestamptz,
  -- How many requests for a Pod were sent of which it is not known whether they took effect, and when the last one was.
  creates_unknown integer not null default 0 check (creates_unknown >= 0),
  create_sent_at timestamptz,
  -- Of the Pod, once known.
  pod_uid        text,
  -- When it is gone it is to be started again: asked for while it was being stopped.
  start_again    boolean not null default false,

  running_at     timestamptz,
  -- Where it answers, while it is running.
  url            text,
  -- When it was last used. Set by the application; one that is not used for long is stopped.
  last_active_at timestamptz not null default clock_timestamp(),
  -- The last states with their reasons, the newest last.
  history        jsonb not null default '[]',

  check (placed_at is not null or state in ('starting', 'stopped', 'error')),
  check (placed_at is null or state <> 'stopped'),
  check ((state = 'running') = (url is not null)),
  check ((state = 'running') = (running_at is not null))
);

-- What the reconciler looks for once a second; empty while all runtimes are at rest.
create index agent_runtime_in_motion on app.agent_runtimes (requested_at)
  where state in ('starting', 'stopping') or state = 'error' and placed_at is not null;

-- What the cap counts.
create index agent_runtime_placed on app.agent_runtimes (org_id) where placed_at is not null;

-- The state machine, whoever writes: transitions that there are not are refused, versions grow, history is kept.
create function app.agent_runtime_change() returns trigger language plpgsql as $$
begin
  if tg_op = 'UPDATE' then
    -- A sign of use alone changes nothing that a decision was made on.
    if to_jsonb(new) - 'last_active_at' = to_jsonb(old) - 'last_active_at' then
      return new;
    end if;
    new.version := old.version + 1;
    if new.state = old.state and new.reason = old.reason then
      return new;
    end if;
    if new.state <> old.state then
      if (old.state, new.state) not in (
        ('stopped', 'starting'),
        ('starting', 'running'), ('starting', 'stopping'), ('starting', 'stopped'), ('starting', 'error'),
        ('running', 'stopping'), ('running', 'error'),
        ('stopping', 'stopped'), ('stopping', 'starting'),
        ('error', 'starting'), ('error', 'stopping'), ('error', 'stopped')
      ) then
        raise exception 'a runtime does not go from % to %', old.state, new.state using errcode = 'check_violation';
      end if;
      new.state_since := clock_timestamp();
    end if;
  end if;
  new.history := (
    select jsonb_agg(entry order by number)
    from (
      select entry, number
      from jsonb_array_elements(
        new.history || jsonb_build_object('at', clock_timestamp(), 'state', new.state, 'reason', new.reason)
      ) with ordinality as entries (entry, number)
      order by number desc limit 20
    ) newest
  );
  return new;
end $$;

create trigger agent_runtime_change before insert or update on app.agent_runtimes
  for each row execute function app.agent_runtime_change();
