-- The tables of the application that Pulsebox ships with. An application with tables of its own needs none of these:
-- it declares what is searched as a projection (see docs/projections.md).

create schema app;

create table app.items (
  item_id      uuid primary key default gen_random_uuid(),
  -- Whose it is. Searches never cross organisations.
  org_id       text not null,
  -- What the item is called where it comes from; imports find it again by this.
  canonical_id text not null,
  name         text not null,
  text         text not null default '',
  data         jsonb not null default '{}',
  created_at   timestamptz not null default now(),
  updated_at   timestamptz not null default now(),
  -- Archived items stay in the table and leave the search index.
  archived_at  timestamptz,
  unique (org_id, canonical_id)
);

create table app.files (
  file_id      uuid primary key default gen_random_uuid(),
  org_id       text not null,
  canonical_id text not null,
  -- The item it is attached to, if any.
  item_id      uuid references app.items on delete set null,
  name         text not null,
  media_type   text not null default 'application/octet-stream',
  size_bytes   bigint not null default 0,
  -- What could be read out of it.
  text         text not null default '',
  data         jsonb not null default '{}',
  created_at   timestamptz not null default now(),
  updated_at   timestamptz not null default now(),
  archived_at  timestamptz,
  unique (org_id, canonical_id)
);

-- For the foreign key: deleting an item looks for its files.
create index file_item_id on app.files (item_id) where item_id is not null;
