// Consumer groups that nobody reads, or that are behind although somebody does.

import { groupStatus } from '@pulsebox/outbox';
import type { GroupStatus } from '@pulsebox/outbox';
import { pauseText } from '../group-columns.ts';
import { duration, plural } from '../quantities.ts';
import { printable } from '../terminal.ts';
import type { Check } from './check.ts';
import { fail, ok, warn } from './finding.ts';

/** A group that is behind for longer does not keep up. */
const BEHIND_SECONDS = 300;
/** One that has something to deliver and has stored nothing for longer stands still. */
const STILL_SECONDS = 30;

export const groups: Check = {
  name: 'groups',
  needs: 'schema',
  async run({ pool }) {
    const statuses = await groupStatus(pool);
    const findings = [
      ...statuses.filter(isAbandoned).map(describeAbandoned),
      ...statuses.filter(({ paused }) => paused !== null).map(describePaused),
      ...statuses.filter((status) => isStandingStill(status) || isBehind(status)).map(describeBehind),
    ];
    if (findings.length > 0) return findings;
    return ok(
      statuses.length === 0
        ? 'no consumer group yet: a worker registers its groups when it starts'
        : `${plural(new Set(statuses.map(({ group }) => group)).size, 'consumer group')}, all events delivered or being delivered`,
    );
  },
};

function isAbandoned({ lag, holder }: GroupStatus): boolean {
  return lag > 0 && holder === null;
}

function isBehind({ lag, holder, oldestAgeSeconds, paused }: GroupStatus): boolean {
  return lag > 0 && holder !== null && paused === null && oldestAgeSeconds > BEHIND_SECONDS;
}

function isStandingStill({ lag, holder, oldestAgeSeconds, storedAt, paused }: GroupStatus): boolean {
  return (
    lag > 0 &&
    holder !== null &&
    paused === null &&
    oldestAgeSeconds > STILL_SECONDS &&
    Date.now() - Date.parse(storedAt) > STILL_SECONDS * 1_000
  );
}

function describeAbandoned({ group, lane, lag, oldestAgeSeconds }: GroupStatus): ReturnType<typeof fail> {
  return fail(
    `nobody reads group ${group}, lane ${lane}: ${plural(lag, 'event')} undelivered, the oldest for ${duration(oldestAgeSeconds)}`,
    'start the worker that reads this group; if it runs, its log says why it does not read',
  );
}

function describePaused({ group, lane, lag, paused }: GroupStatus): ReturnType<typeof warn> {
  return warn(
    `group ${group}, lane ${lane} is paused with ${plural(lag, 'event')} undelivered, its sink is away${paused === null ? '' : ` ${pauseText(paused)}`}`,
    'bring back what it writes to; the group goes on by itself, and a restart changes nothing',
  );
}

function describeBehind(status: GroupStatus): ReturnType<typeof warn> {
  const { group, lane, lag, holder, oldestAgeSeconds } = status;
  return warn(
    `group ${group}, lane ${lane} ${isStandingStill(status) ? 'stands still' : 'is behind'}: ${plural(lag, 'event')} undelivered, the oldest for ${duration(oldestAgeSeconds)}`,
    `look at the log and /health of ${printable(holder ?? '')}: its sink may be away or slow`,
  );
}
