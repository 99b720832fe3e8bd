// One change of a group at a time: of its lanes, its place, its existence, or of parked events in bulk. Whoever locks
// leases of several lanes in one transaction takes this first, so no two of them can wait for each other.

/** Until the transaction ends; assigns no xid. $1 group. */
export const LOCK_GROUP = `select outbox.lock_group($1)`;
