// How the lanes of consumer groups look in a table.

import type { GroupStatus, LanePause } from '@pulsebox/outbox';
import { count, duration, plural } from './quantities.ts';
import type { Column } from './table.ts';
import { printable } from './terminal.ts';
import type { Terminal } from './terminal.ts';

/** From this age on an undelivered event is worth a look; the objective is 30 s. */
const LATE_SECONDS = 30;

export function groupColumns(style: Terminal['style']): readonly Column<GroupStatus>[] {
  const late = (status: GroupStatus, text: string): string => {
    if (status.lag === 0) return text;
    return style(status.holder === null || status.oldestAgeSeconds > LATE_SECONDS ? 'red' : 'yellow', text);
  };
  return [
    { title: 'GROUP', value: ({ group }) => group },
    { title: 'LANE', align: 'right', value: laneOf },
    { title: 'POSITION', align: 'right', value: ({ position }) => String(position) },
    { title: 'LAG', align: 'right', value: (status) => late(status, count(status.lag)) },
    {
      title: 'OLDEST',
      align: 'right',
      value: (status) => (status.lag === 0 ? '-' : late(status, duration(status.oldestAgeSeconds))),
    },
    {
      title: 'PARKED',
      align: 'right',
      value: ({ parked }) => (parked === 0 ? '0' : style('yellow', count(parked))),
    },
    {
      title: 'DEAD',
      align: 'right',
      value: ({ dead }) => (dead === 0 ? '0' : style('red', count(dead))),
    },
    { title: 'DELIVERED', align: 'right', value: ({ delivered }) => count(delivered) },
    {
      title: 'HOLDER',
      value: ({ holder }) => (holder === null ? style('dim', 'nobody') : printable(holder)),
    },
    {
      title: 'LEASE',
      align: 'right',
      value: ({ leaseSeconds }) => (leaseSeconds === null ? '-' : duration(leaseSeconds)),
    },
    { title: 'STATE', value: (status) => stateOf(status, style) },
    { title: 'STORED', value: ({ storedAt }) => storedAt },
  ];
}

/** `0`; of several, `2 of 4`; while their number changes, `2 of 4, soon 6`. */
function laneOf({ lane, lanes, wishedLanes }: GroupStatus): string {
  const of = lanes === 1 && wishedLanes === null ? '' : ` of ${lanes}`;
  return `${lane}${of}${wishedLanes === null ? '' : `, soon ${wishedLanes}`}`;
}

function stateOf({ holder, paused }: GroupStatus, style: Terminal['style']): string {
  if (holder === null) return style('dim', '-');
  return paused === null ? 'reading' : style('yellow', 'paused');
}

/** Why lanes rest, under the table; nothing when none does. */
export function pausesRemark(statuses: readonly GroupStatus[], style: Terminal['style']): string {
  return statuses
    .flatMap(({ group, lane, lanes, paused }) => {
      if (paused === null) return [];
      const where = lanes === 1 ? group : `${group}, lane ${lane},`;
      return [
        `\n${style('yellow', printable(`${where} is paused`))}, its sink is away: ${pauseText(paused)}`,
      ];
    })
    .join('');
}

/** `since … , next try at …: why`. */
export function pauseText({ since, nextTryAt, code, reason }: LanePause): string {
  return `since ${since}, next try at ${nextTryAt}: ${printable(`${reason} (${code})`)}`;
}

/** What to do about dead letters, under the table; nothing when there are none. */
export function deadLettersRemark(statuses: readonly GroupStatus[], style: Terminal['style']): string {
  const dead = statuses.reduce((sum, status) => sum + status.dead, 0);
  if (dead === 0) return '';
  const waits = dead === 1 ? 'waits' : 'wait';
  return `\n${style('red', plural(dead, 'dead letter'))} ${waits} for somebody to look: pulsebox dead list`;
}

export const NO_GROUPS = 'no consumer groups yet: a worker registers its groups when it starts';
