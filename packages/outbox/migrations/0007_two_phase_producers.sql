-- PostgreSQL refuses to PREPARE a transaction that has notified, and a trigger cannot know what becomes of the one it
-- runs in. A producer that commits in two phases says so itself, for its role, its session or its transaction:
--
--   set local outbox.notify = off
--
-- Its events are found by readers that look by themselves, as with notifications switched off altogether. Looked at
-- only where a reader sleeps, so that it costs a busy log nothing.
create or replace function outbox.wake_readers() returns trigger language plpgsql as $$
begin
  if (select last_value from outbox.sleeping_until) > extract(epoch from clock_timestamp()) * 1000
     and lower(coalesce(current_setting('outbox.notify', true), '')) not in ('off', 'false', 'no', '0') then
    perform pg_notify((select notify_channel from outbox.setting), '');
  end if;
  return null;
end $$;
