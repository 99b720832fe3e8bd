// What a run has seen, in figures and as text.

import type { Queryable } from '@pulsebox/postgres';
import type { Check } from './checker.ts';
import type { TortureOptions } from './plan.ts';
import type { Tally } from './producer.ts';

export interface Figures {
  readonly events: number;
  readonly largest: number;
  /** Delivered after an event with a higher position had been. */
  readonly late: number;
  readonly deliveries: number;
  readonly batches: number;
  readonly redelivered: number;
  readonly kills: number;
  readonly freezes: number;
  readonly blinks: number;
  readonly restarts: number;
  /** Leases that changed hands after their deadline, and after they were given back. */
  readonly ranOut: number;
  readonly givenBack: number;
}

const FIGURES = `
  select (select count(*) from torture.emitted)::float8 as events,
         (select count(*) from torture.emitted where behaviour = 'large')::float8 as largest,
         (select count(*) from (
            select position, max(position) over (order by id rows between unbounded preceding and 1 preceding) as highest
            from (select distinct on (position) id, position from torture.delivery order by position, id) f
          ) d where position < highest)::float8 as late,
         (select count(*) from torture.delivery)::float8 as deliveries,
         (select count(*) from (select distinct worker, batch from torture.delivery) b)::float8 as batches,
         (select count(*) - count(distinct position) from torture.delivery)::float8 as redelivered,
         (select count(*) from torture.mishap where kind = 'kill')::float8 as kills,
         (select count(*) from torture.mishap where kind = 'freeze')::float8 as freezes,
         (select count(*) from torture.mishap where kind = 'blink')::float8 as blinks,
         (select count(*) from torture.mishap where kind = 'restart')::float8 as restarts,
         (select count(*) from torture.reign where previous_ran_out)::float8 as "ranOut",
         (select count(*) from torture.reign where not previous_ran_out and token > 1)::float8 as "givenBack"`;

export async function collectFigures(db: Queryable): Promise<Figures> {
  const { rows } = await db.query<Figures>(FIGURES);
  if (rows[0] === undefined) throw new Error('there are no figures');
  return rows[0];
}

export interface Report {
  readonly options: TortureOptions;
  readonly tally: Tally;
  readonly figures: Figures;
  readonly checks: readonly Check[];
  /** Workers that ended unasked, or badly. */
  readonly crashes: readonly string[];
  /** Whether the last event was delivered. */
  readonly caughtUp: boolean;
  readonly passed: boolean;
}

const figure = new Intl.NumberFormat('en');
const n = (value: number): string => figure.format(value);

export function renderReport({ options, tally, figures, checks, crashes, caughtUp, passed }: Report): string {
  const lines = [
    `written     ${n(figures.events)} events, ${n(figures.largest)} of them in one transaction`,
    `            ${n(tally.committed)} transactions committed, ${n(tally.rolledBack)} rolled back, ${n(tally.autocommitted)} autocommits, ${n(tally.savepointsRolledBack)} savepoints rolled back, ${n(tally.cut)} cut off`,
    `mishaps     ${n(figures.kills)} kills, ${n(figures.freezes)} freezes past the lease, ${n(figures.blinks)} blinks within it, ${n(figures.restarts)} restarts`,
    `            the lease changed hands ${n(figures.ranOut)} times by its deadline, ${n(figures.givenBack)} times by being given back`,
    `delivered   ${n(figures.deliveries)} in ${n(figures.batches)} batches, ${n(figures.late)} late, ${n(figures.redelivered)} again`,
    '',
    ...checks.flatMap(renderCheck),
    `crashed      ${crashes.length}  workers that ended unasked or badly`,
    ...crashes.map((crash) => `    ${crash}`),
    ...(caughtUp ? [] : ['The last event was never delivered: the workers have stopped delivering.']),
    '',
    passed ? 'PASSED' : `FAILED   (seed ${options.seed})`,
  ];
  return lines.join('\n');
}

function renderCheck({ name, meaning, count, offenders }: Check): string[] {
  return [
    `${name.padEnd(12)} ${n(count)}  ${meaning}`,
    ...offenders.map((offender) => `    ${offender}`),
    ...(count > offenders.length ? [`    … and ${n(count - offenders.length)} more`] : []),
  ];
}
