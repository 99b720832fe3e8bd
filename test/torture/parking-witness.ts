// The witness of what becomes of events that failed, and of who stored what: triggers on the product's own tables.

export const PARKING_WITNESS = `
  -- Every step of a parked event, in the transaction that took it.
  create table torture.parking (
    id         bigint generated always as identity primary key,
    group_name text not null,
    position   bigint not null,
    -- parked, behind (another of its key), failed again, dead, replayed, redriven (delivered, and gone), discarded
    step       text not null,
    -- Null: the operator.
    worker     integer,
    at         timestamptz not null default clock_timestamp()
  );
  create index parking_position on torture.parking (position, group_name);

  -- What was stored by one that did not hold the lane: the token of the lease was another by then.
  create table torture.usurpation (
    id         integer generated always as identity primary key,
    what       text not null,
    group_name text not null,
    position   bigint not null,
    by_whom    text not null,
    holder     text
  );

  create function torture.note_parking() returns trigger language plpgsql as $$
  declare
    of record;
    by_worker integer := substring(current_setting('application_name') from '^torture-([0-9]+)$')::integer;
    lane_holder text;
    step text;
  begin
    of := case when tg_op = 'DELETE' then old else new end;
    if tg_op = 'INSERT' then
      step := case when new.state = 'dead' then 'dead' when new.errors <> '[]' then 'parked' else 'behind' end;
    elsif tg_op = 'DELETE' then
      step := case when by_worker is null then 'discarded' else 'redriven' end;
    elsif new.state <> old.state then
      step := case when new.state = 'dead' then 'dead' else 'replayed' end;
    elsif new.errors <> old.errors then
      step := 'failed again';
    else
      -- Claimed, given back, or due: on the way to one of these.
      return null;
    end if;
    insert into torture.parking (group_name, position, step, worker) values (of.group_name, of.position, step, by_worker);
    if by_worker is null then
      return null;
    end if;
    -- Whoever stores holds the lease's row in share mode: it is what it was when the token was compared.
    select l.holder into lane_holder
      from outbox.consumer_group g
      left join pulsebox.lease l
        on l.name = 'outbox/' || g.name || '/' || outbox.lane_of(of.key, of.position, g.lanes)
      where g.name = of.group_name;
    if split_part(lane_holder, '/', 2) is distinct from by_worker::text then
      insert into torture.usurpation (what, group_name, position, by_whom, holder)
        values (step, of.group_name, of.position, 'worker ' || by_worker, lane_holder);
    end if;
    return null;
  end $$;
  create trigger note_parking after insert or update or delete on outbox.parked
    for each row execute function torture.note_parking();

  create function torture.note_store() returns trigger language plpgsql as $$
  begin
    insert into torture.usurpation (what, group_name, position, by_whom, holder)
      select 'cursor', new.group_name, new.position, 'token ' || new.token, l.holder || ', token ' || l.token
      from pulsebox.lease l
      where l.name = 'outbox/' || new.group_name || '/' || new.lane and l.token <> new.token;
    return null;
  end $$;
  create trigger note_store after insert on outbox.cursor
    for each row execute function torture.note_store();
`;
