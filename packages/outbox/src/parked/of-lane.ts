// Which lane a parked event is of.

/**
 * Of a parked event `p` of group $1: whether lane $2 delivers it. Rows carry no lane: a change of lanes moves them all
 * at once. A reader that does not know of the change yet sees those of another, and can claim none.
 * `coalesce`, since the planner takes an equation for so rare that it sorts all rows instead of following an index.
 */
export const OF_LANE = `
    coalesce(outbox.lane_of(p.key, p.position, (select lanes from outbox.consumer_group where name = $1)) = $2, false)`;
