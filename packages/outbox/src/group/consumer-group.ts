// Registers consumer groups: a name, and where it starts to read.

import type { Queryable } from '@pulsebox/postgres';
import { OutboxError } from '../outbox-error.ts';
import { rebaseAfterRestore } from '../log/restore.ts';

/** Where a group starts that has not been there before: with all events kept, or with those yet to come. */
export type StartFrom = 'beginning' | 'end';

/**
 * Result: the number of its lanes; null: it was registered just now, with one. $1 group, $2 whether to start at the end.
 * Writes nothing when the group is there. Index: consumer_group_pkey.
 * The beginning is that of the oldest partition kept: nothing below it is left that could be late.
 * "The end" is a whole cursor: transactions that are open now and have events below it are delivered when they commit.
 */
const REGISTER_GROUP = `
  with registered as (
    insert into outbox.consumer_group (name) values ($1) on conflict do nothing returning name
  ),
  started as (
    insert into outbox.cursor (group_name, token, batch, position, snapshot, ceiling)
    select name, 0, 0,
           case when $2 then coalesce((select max(seq) from outbox.event), 0)
                else (select greatest(coalesce(min(lower_bound), 0) - 1, 0) from outbox.partition) end,
           case when $2 then pg_current_snapshot() else '1:1:'::pg_snapshot end,
           case when $2 then pg_current_xact_id() else '1'::xid8 end
    from registered
  )
  select (select lanes from outbox.consumer_group where name = $1) as lanes`;

const GROUP_NAME = /^[a-z][a-z0-9-]{0,62}$/;

/**
 * Makes the group known, at the given start; one that is known keeps its cursor. A log that was restored from another
 * cluster is made readable first: whoever reads a lane calls this before.
 *
 * @returns the number of its lanes
 * @throws OUTBOX_GROUP_INVALID
 */
export async function registerGroup(db: Queryable, group: string, startFrom: StartFrom): Promise<number> {
  if (!GROUP_NAME.test(group)) {
    throw new OutboxError(
      'OUTBOX_GROUP_INVALID',
      `expected a group name such as "search", got ${JSON.stringify(group)}`,
      {
        hint: 'a group name has lower-case letters, digits and hyphens, starts with a letter, and is at most 63 characters long',
      },
    );
  }
  await rebaseAfterRestore(db);
  const { rows } = await db.query<{ lanes: number | null }>(REGISTER_GROUP, [group, startFrom === 'end']);
  return rows[0]?.lanes ?? 1;
}
