-- No event that a reader could not read. As text a number like 1e131071 is 131,072 characters long and as jsonb a dozen
-- bytes, so a payload of 30 kB could be text that neither the server nor a worker can hold: every read of it failed, and
-- no group got past it. Whoever writes it is told so instead.
--
-- Text is made only where it may be too long: 800 bytes have room for fifty such numbers, 6.5 million characters. What is
-- compressed, by `insert ... select` from elsewhere, says nothing of its size. 0.1 us for a small event, 1 us for 100
-- bytes beyond the 800.
--
-- Not validated: that would read the whole log with producers shut out, and what is in it has been read.
alter table outbox.event
  add constraint event_payload_size check (
    (pg_column_size(payload) <= 800 and pg_column_compression(payload) is null)
    or octet_length(payload::text) <= 16777216) not valid,
  add constraint event_headers_size check (
    (pg_column_size(headers) <= 800 and pg_column_compression(headers) is null)
    or octet_length(headers::text) <= 16777216) not valid;
