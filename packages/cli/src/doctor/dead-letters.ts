// Events that a group could not deliver and that wait for a person.

import { groupStatus } from '@pulsebox/outbox';
import type { GroupStatus } from '@pulsebox/outbox';
import { count, duration, plural } from '../quantities.ts';
import type { Check } from './check.ts';
import { ok, warn } from './finding.ts';
import type { Finding } from './finding.ts';

export const deadLetters: Check = {
  name: 'dead-letters',
  needs: 'schema',
  async run({ pool }) {
    const statuses = await groupStatus(pool);
    const findings = [...new Set(statuses.map(({ group }) => group))].flatMap((group) =>
      describe(
        group,
        statuses.filter((status) => status.group === group),
      ),
    );
    if (findings.length > 0) return findings;
    const parked = statuses.reduce((sum, status) => sum + status.parked, 0);
    return ok(
      parked === 0
        ? 'nothing is parked, and there are no dead letters'
        : `no dead letters; ${plural(parked, 'parked event')}, tried again without you`,
    );
  },
};

function describe(group: string, lanes: readonly GroupStatus[]): Finding[] {
  const dead = lanes.reduce((sum, lane) => sum + lane.dead, 0);
  if (dead === 0) return [];
  const parked = lanes.reduce((sum, lane) => sum + lane.parked, 0);
  const oldest = Math.max(...lanes.map((lane) => lane.oldestDeadAgeSeconds));
  return [
    warn(
      `group ${group} has ${plural(dead, 'dead letter')}, the oldest for ${duration(oldest)}; ${count(parked)} more parked, tried again or waiting behind one of their key`,
      `see why: pulsebox dead list --group ${group}\nonce it is mended: pulsebox dead replay --group ${group}, or pulsebox dead discard`,
    ),
  ];
}
