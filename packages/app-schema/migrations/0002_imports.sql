-- Imports: files of items, read by workers a chunk at a time (packages/imports).

-- What an item's content was when an import wrote it: SHA-256 over name, text, data and source. A file that is imported
-- again is compared by 32 bytes a row, not by documents. Null: not written by an import, or changed since.
alter table app.items add column content_hash bytea;
-- Where the item came from, as the file said. For people.
alter table app.items add column source text;

-- Whoever changes content without knowing of the hash takes it away, so that it is never wrong: the next import of the
-- item then compares the content itself.
create function app.forget_content_hash() returns trigger language plpgsql as $$
begin
  new.content_hash := null;
  return new;
end $$;

create trigger forget_content_hash before update of name, text, data, source on app.items
  for each row when (
    old.content_hash is not null and new.content_hash = old.content_hash
    and (new.name, new.text, new.data, new.source) is distinct from (old.name, old.text, old.data, old.source))
  execute function app.forget_content_hash();

create table app.import_jobs (
  job_id           uuid primary key default gen_random_uuid(),
  -- Whose items they become.
  org_id           text not null check (org_id <> ''),
  -- Who is told of the end: the user of `push.requested`. Null: nobody.
  owner_id         text,
  -- Below FILE_STORAGE_PATH, relative to it.
  file_path        text not null check (file_path <> ''),
  -- The file is the import's own, and is removed when all of it has been imported, or the row here is pruned.
  delete_file      boolean not null default false,
  -- `auto`: by the name of the file and what stands in it. Compression is recognised by itself.
  format           text not null default 'auto' check (format in ('auto', 'json', 'ndjson', 'csv')),
  -- For CSV: {"columns": {"canonical_id": "ID", "name": "Title"}, "delimiter": ";"}.
  mapping          jsonb not null default '{}' check (jsonb_typeof(mapping) = 'object'),
  -- False: items that are there already stay as they are.
  update_existing  boolean not null default true,
  -- False: rows whose item is completed are passed over.
  include_completed boolean not null default false,
  -- Reads, checks and compares everything, and writes nothing but this row and the faults.
  dry_run          boolean not null default false,
  -- Whether `item.upserted` is emitted for each item that is written.
  emit_events      boolean not null default true,

  state            text not null default 'queued'
                     check (state in ('queued', 'running', 'paused', 'cancelled', 'completed', 'failed')),
  -- What a person wants of an import that runs; its worker does so after the present chunk.
  wanted           text check (wanted in ('pause', 'cancel')),
  -- Why it has failed, and what to do. Null unless it has.
  reason           text,

  -- The fence: every run has a number, and writes only while it is the last one.
  run              bigint not null default 0,
  -- The job of pg-boss whose run it is.
  runner           uuid,
  -- Runs since the last one that committed a chunk.
  attempts         integer not null default 0,
  -- When the run was last heard of, or the import queued.
  beat_at          timestamptz not null default clock_timestamp(),

  -- How far it is. All of this is written in the transaction of the rows that it counts.
  processed        bigint not null default 0,
  created          bigint not null default 0,
  updated          bigint not null default 0,
  unchanged        bigint not null default 0,
  -- Completed, where those are left out; there already, where those stay as they are.
  skipped          bigint not null default 0,
  failed           bigint not null default 0,
  -- Of the file as it lies on the disk; how much of it was read, and SHA-256 over that much: is it still the same file?
  file_bytes       bigint,
  file_modified_at timestamptz,
  bytes_read       bigint not null default 0,
  prefix_hash      bytea,
  -- Of the last seconds.
  rows_per_second  double precision,
  seconds_left     double precision,

  created_at       timestamptz not null default now(),
  started_at       timestamptz,
  ended_at         timestamptz,

  constraint import_job_counts check (processed = created + updated + unchanged + skipped + failed),
  constraint import_job_reason check ((state = 'failed') = (reason is not null)),
  constraint import_job_ended check ((state in ('cancelled', 'completed', 'failed')) = (ended_at is not null))
)
-- A running import updates its row once a chunk; none of these columns is in an index, and the page has room for it.
with (fillfactor = 50);

-- For upkeep: imports that should be under way. Few at any time.
create index import_job_open on app.import_jobs (created_at) where state in ('queued', 'running', 'paused');

-- For upkeep: what may be forgotten.
create index import_job_ended on app.import_jobs (ended_at) where ended_at is not null;

create table app.import_faults (
  job_id     uuid not null references app.import_jobs on delete cascade,
  -- Which row of the file, from 1.
  row_number bigint not null,
  -- Where it begins.
  line       bigint not null,
  -- What was expected and what came.
  reason     text not null,
  primary key (job_id, row_number)
);

comment on table app.import_jobs is
  'Imports of files. Insert a row and emit import.requested {"job_id"} in one transaction; `pulsebox import` does so.';
comment on table app.import_faults is 'The first hundred rows of an import that could not be imported.';
