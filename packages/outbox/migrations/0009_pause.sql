-- Why a lane rests: its sink is away. So that an operator sees it from anywhere, without knowing which worker reads the lane.
--
-- For people alone: no reader goes by it, and the wait itself stays in the memory of the reader. Written when a try fails
-- (the tries of a pause are up to a minute apart) and removed when the sink is back. A reader that dies leaves its row
-- behind; the token tells that it is nobody's any more.
create table outbox.pause (
  group_name  text not null,
  lane        integer not null,
  -- Of the lease under which it was written. Where the lease has another one, or none any more, the row says nothing.
  token       bigint not null,
  since       timestamptz not null,
  next_try_at timestamptz not null,
  -- The error's code, and the first line of its message.
  code        text not null,
  reason      text not null,
  primary key (group_name, lane)
);
