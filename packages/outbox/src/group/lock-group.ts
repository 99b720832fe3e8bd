// One change of a group at a time: of its lanes, its place, its existence.

/** Until the transaction ends; assigns no xid. $1 group. */
export const LOCK_GROUP = `select outbox.lock_group($1)`;
