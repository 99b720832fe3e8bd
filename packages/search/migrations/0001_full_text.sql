-- PostgreSQL full-text search, the sink where no Meilisearch is configured; and the views that ship as projections.

create schema search;

-- What an index holds at one time. A rebuild fills a generation of its own beside the live one and then swaps.
create table search.generation (
  generation bigint generated always as identity primary key,
  index_name text not null,
  -- The one that is searched and kept up to date. False: being filled, or replaced and on its way out.
  live       boolean not null default false,
  -- What its vectors were made of, most important first. When the declaration changes, they are made anew.
  searchable text[] not null,
  created_at timestamptz not null default now()
);

-- At most one is live, whoever creates it; also how readers find it.
create unique index generation_live on search.generation (index_name) where live;

create table search.document (
  -- No foreign key: it would lock the generation's row once per document, and generations are only removed empty.
  generation   bigint not null,
  id           text not null,
  -- Searches of one organisation never see another's documents. Null: belongs to none.
  organisation text,
  document     jsonb not null,
  vector       tsvector not null,
  primary key (generation, id)
);

-- The words. Documents of all generations share it; those of others are filtered out, or met by the index below.
create index document_vector on search.document using gin (vector);

-- For a search within one organisation, together with the words (a bitmap of each), and for listing its documents.
create index document_organisation on search.document (generation, organisation, id);

-- Text as it is compared: lower case, without accents, punctuation as spaces. Documents and queries go through the
-- same function, so that "Zürich", "ZURICH" and "zurich" are one word. Compatibility decomposition takes accents off
-- and turns full-width letters and ligatures into plain ones; letters that have no decomposition are replaced by name.
-- Written out here, since the extension `unaccent` is not there for everybody and its function is not immutable.
--
-- Punctuation becomes a space since the parser of PostgreSQL takes `a/b.c` for a path and `x-1` for a number:
-- words inside them would not be found.
--
-- Under the C locale lower() knows ASCII only. The collation is the best one that this server has. Text in ASCII takes
-- a short cut to the same result: 12 µs instead of 32 for 115 characters.
do $$
declare
  chosen text := coalesce(
    (select format('%I.%I', n.nspname, c.collname)
     from pg_collation c join pg_namespace n on n.oid = c.collnamespace
     where c.collname in ('pg_c_utf8', 'und-x-icu') and n.nspname = 'pg_catalog'
     order by c.collname <> 'pg_c_utf8' limit 1),
    'pg_catalog."default"');
begin
  if getdatabaseencoding() <> 'UTF8' then
    raise exception 'expected a database with encoding UTF8, got %', getdatabaseencoding();
  end if;
  execute format($definition$
    create function search.fold(words text) returns text
    language plpgsql immutable strict parallel safe as $function$
    begin
      if octet_length(words) = length(words) then
        return regexp_replace(lower(words collate "C"), '[^a-z0-9]+', ' ', 'g');
      end if;
      words := lower(regexp_replace(normalize(words, nfkd), '[\u0300-\u036f]', '', 'g') collate %1$s);
      words := replace(replace(replace(replace(
        translate(words, 'øłđħŧı', 'oldhti'), 'ß', 'ss'), 'æ', 'ae'), 'œ', 'oe'), 'þ', 'th');
      return regexp_replace(words collate %1$s, '[\x01-/:-@\[-`{-\x7f[:punct:][:space:]]+', ' ', 'g');
    end $function$
  $definition$, chosen);
end $$;

comment on function search.fold is 'Text as search compares it: lower case, no accents, punctuation as spaces.';

-- Every string and number inside an array or an object.
create function search.words_inside(value jsonb) returns text
language sql immutable strict parallel safe
return (
  select string_agg(part #>> '{}', ' ') from jsonb_path_query(value, 'strict $.**') as part
  where jsonb_typeof(part) in ('string', 'number')
);

-- What a document is found by: its searchable attributes, the first with weight A, then B, C, and D for the rest.
-- An attribute is a path, `address.city`. The first 100,000 characters count: a tsvector holds 1 MB at most, and one
-- that would not fit is an error, with which a single long text would hold up all that come after it.
create function search.to_vector(document jsonb, searchable text[]) returns tsvector
language plpgsql immutable strict parallel safe as $$
declare
  vector tsvector := '';
  room   integer := 100000;
  value  jsonb;
  words  text;
begin
  for i in 1 .. cardinality(searchable) loop
    value := document #> string_to_array(searchable[i], '.');
    words := case jsonb_typeof(value)
      when 'string' then value #>> '{}'
      when 'number' then value #>> '{}'
      when 'array' then search.words_inside(value)
      when 'object' then search.words_inside(value)
    end;
    continue when words is null or words = '';
    words := left(search.fold(left(words, room)), room);
    room := room - length(words);
    vector := vector || setweight(to_tsvector('simple', words), coalesce((array['A', 'B', 'C'])[i], 'D')::"char");
    exit when room <= 0;
  end loop;
  return vector;
end $$;

-- A query of terms, all of which a document must have, but for those that are excluded, which it must not. A term of
-- several words is a phrase. With `last_is_prefix` the last word may go on. Whatever the terms are, there is a query:
-- they are parsed as text, never as query syntax. A query without words has no nodes.
create function search.to_query(terms text[], excluded boolean[], last_is_prefix boolean) returns tsquery
language plpgsql immutable strict parallel safe as $$
declare
  asked tsquery := '';
  part  tsquery;
begin
  for i in 1 .. cardinality(terms) loop
    part := phraseto_tsquery('simple', search.fold(terms[i]));
    continue when numnode(part) = 0;
    if excluded[i] then
      part := !! part;
    elsif last_is_prefix and i = cardinality(terms) then
      -- As text a query ends with its last word in quotes, and `:*` after it makes that a prefix.
      part := (part::text || ':*')::tsquery;
    end if;
    asked := case when numnode(asked) = 0 then part else asked && part end;
  end loop;
  return asked;
end $$;

-- Whether a document has each of these values at its path, or among the elements of the array there.
create function search.matches(document jsonb, filter jsonb) returns boolean
language sql immutable strict parallel safe
return not exists (
  select from jsonb_each(filter) as wanted(path, value)
  where (document #> string_to_array(wanted.path, '.') @> wanted.value) is not true
);

-- Items and files as projections: id, organisation, document, deleted.
create view search.item_documents as
  select item_id as id,
         org_id as organisation,
         jsonb_build_object(
           'name', name, 'canonical_id', canonical_id, 'text', text, 'data', data,
           'created_at', created_at, 'updated_at', updated_at) as document,
         archived_at is not null as deleted
  from app.items;

create view search.file_documents as
  select file_id as id,
         org_id as organisation,
         jsonb_build_object(
           'name', name, 'canonical_id', canonical_id, 'text', text, 'data', data, 'item_id', item_id,
           'media_type', media_type, 'size_bytes', size_bytes,
           'created_at', created_at, 'updated_at', updated_at) as document,
         archived_at is not null as deleted
  from app.files;
