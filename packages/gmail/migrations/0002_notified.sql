-- What Pub/Sub told of a mailbox may be lowered again: an id that Google itself knows nothing of would have every later
-- notification dropped as old. What has been read stays read.

create or replace function app.keep_history_id() returns trigger language plpgsql as $$
begin
  if new.history_id is null or new.history_id < old.history_id then
    new.history_id := old.history_id;
  end if;
  return new;
end $$;
