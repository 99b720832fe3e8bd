// What must be true of the events that are parked when all is quiet, and of whoever parked them.

import { TRIAL_REASON } from './handler.ts';
import { MAX_ATTEMPTS } from './plan.ts';

/** Of a row `p` of outbox.parked. Index: parked_key. */
export const BEHIND_A_DEAD_ONE: string = `
  exists (select from outbox.parked h
          where h.group_name = p.group_name and h.key = p.key and h.position < p.position and h.state = 'dead')`;

export const STUCK: string = `
  select count(*) over ()::float8 as count,
         format('event %s of %s (%s) is parked for %s after %s attempts, %s', p.position, p.group_name, coalesce(p.key, 'no key'),
                coalesce('its next one at ' || p.next_attempt_at, 'one before it'), p.attempts, p.errors -> -1 ->> 'reason') as offender
  from outbox.parked p
  where p.state = 'parked' and not ${BEHIND_A_DEAD_ONE}
  order by p.position
  limit $1`;

/**
 * A dead letter is one that fails for good, or has failed as often as it may, its worker's end and its batch's deadline
 * counted. One that never fails by itself has no excuse. Its errors are those that were witnessed; a replay begins to
 * count anew, and keeps what was.
 */
export const UNJUST: string = `
  select count(*) over ()::float8 as count,
         format('event %s of %s is dead after %s attempts (%s; refused %s times): %s', dead.position, dead.group_name,
                dead.attempts, coalesce(dead.trial::text, 'a good event'), dead.refused, dead.errors) as offender
  from (
    select p.*, e.trial, e.trial ->> 'group' = p.group_name and (e.trial -> 'times') = 'null' as for_good,
           (select count(*) from torture.refusal r where r.position = p.position and r.group_name = p.group_name) as refused,
           (select count(*) from jsonb_array_elements(p.errors) err
            where starts_with(err ->> 'reason', '${TRIAL_REASON}')) as own,
           (select count(*) from jsonb_array_elements(p.errors) with ordinality as err(error, n)
            where n > jsonb_array_length(p.errors) - p.attempts
              and not starts_with(error ->> 'reason', '${TRIAL_REASON}')) as foreign_ones
    from outbox.parked p join torture.emitted e on e.seq = p.position
    where p.state = 'dead'
  ) dead
  where not coalesce(for_good or trial ->> 'group' = group_name
                                and (foreign_ones + (trial ->> 'times')::integer >= ${MAX_ATTEMPTS} or trial ->> 'kind' = 'kill'), false)
     or errors = '[]' or attempts not between 1 and ${MAX_ATTEMPTS} or own > refused
  order by dead.position
  limit $1`;

/** Not of the log either way: who has it must not be told that it failed. Index: delivery_position. */
export const TWOFOLD = `
  select count(*) over ()::float8 as count,
         format('event %s was delivered to %s by worker %s (batch %s), and is %s after %s attempts', p.position, p.group_name,
                d.worker, d.batch, p.state, p.attempts) as offender
  from outbox.parked p
  cross join lateral (
    select worker, batch from torture.delivery d where d.position = p.position and d.group_name = p.group_name limit 1
  ) d
  order by p.position
  limit $1`;

/** See torture.usurpation in parking-witness.ts. */
export const USURPED = `
  select count(*) over ()::float8 as count,
         format('%s of %s at %s was stored by %s, while the lane was held by %s', what, group_name, position, by_whom,
                coalesce(holder, 'nobody')) as offender
  from torture.usurpation
  order by id
  limit $1`;
