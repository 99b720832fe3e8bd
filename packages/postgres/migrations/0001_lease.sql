-- The right to do a thing alone, until a deadline on this server's clock.

create table pulsebox.lease (
  -- What is leased, for instance `outbox/search/0`: group search, lane 0.
  name        text primary key,
  -- The fencing token: grows by one with every new holder, never falls. A write that carries an older one is void.
  token       bigint not null default 0,
  -- Who holds it, for people: `host/pid/random`. Null: nobody.
  holder      text,
  -- Until when, on this server's clock. Null: free.
  expires_at  timestamptz,
  -- Somebody who asks the holder to hand over at its next batch boundary. Cleared when the lease changes hands.
  wanted_by   text
)
-- Renewals touch no indexed column; room in each page keeps them heap-only and the table a page or two.
with (fillfactor = 50, autovacuum_vacuum_threshold = 200, autovacuum_vacuum_scale_factor = 0);
