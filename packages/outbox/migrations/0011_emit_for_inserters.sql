-- Whoever may insert an event may add it by outbox.emit. The function works with its caller's rights, and gives nobody more
-- than they have; since the TypeScript emit goes through it (its plan is kept), a role with a plain insert's rights needs it
-- where the default, that everybody may call a function, has been taken away.
grant execute on function outbox.emit to public;
