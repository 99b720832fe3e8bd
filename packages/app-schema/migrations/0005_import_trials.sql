-- Dry runs of imports: what would stand in app.items by now, so that an id that comes twice in a file is created once.

create table app.import_trial_items (
  job_id       uuid not null references app.import_jobs on delete cascade,
  canonical_id text not null,
  -- As in app.items.
  content_hash bytea not null,
  primary key (job_id, canonical_id)
);

comment on table app.import_trial_items is
  'What dry runs of imports would have written. Removed when they end; those of one that failed, with its import.';
