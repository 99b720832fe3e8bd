-- An organisation may be longer than the third of a page that fits into an index: writing its document was an error, of
-- an event that no retry would have mended. Its beginning finds it as well. Made anew at once: documents are written
-- by workers, which wait for this; searches go on without it meanwhile.
drop index search.document_organisation;
create index document_organisation on search.document (generation, left(organisation, 200), id);
