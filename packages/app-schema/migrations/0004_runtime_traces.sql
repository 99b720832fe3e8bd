-- The trace that a runtime's start is a part of: headers of the event that asked for it (`traceparent`), for the requests
-- that the reconciler makes minutes later, perhaps in another process. Null: nobody traced it.
alter table app.agent_runtimes add column trace jsonb check (jsonb_typeof(trace) = 'object');
