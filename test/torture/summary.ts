// What a run has seen, in figures and as text.

import type { Queryable } from '@pulsebox/postgres';
import type { Check } from './checker.ts';
import { requestMishapKinds, workerMishapKinds, worldMishapKinds } from './mishaps.ts';
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
  /** How often each kind of mishap struck. */
  readonly mishaps: Readonly<Record<string, number>>;
  /** Redeliveries by the kind of mishap that explains them. */
  readonly explained: Readonly<Record<string, number>>;
  /** Leases that changed hands after their deadline, and after they were given back. */
  readonly ranOut: number;
  readonly givenBack: number;
  /** The most lanes that a group was read in. */
  readonly lanes: number;
}

const FIGURES = `
  select (select count(*) from torture.emitted)::float8 as events,
         (select count(*) from torture.emitted where behaviour = 'large')::float8 as largest,
         (select count(*) from (
            select position, max(position) over (partition by group_name, lane order by id
                                                 rows between unbounded preceding and 1 preceding) as highest
            from (select distinct on (position, group_name) id, group_name, lane, position
                  from torture.delivery order by position, group_name, id) f
          ) d where position < highest)::float8 as late,
         (select count(*) from torture.delivery)::float8 as deliveries,
         (select count(*) from (select distinct group_name, worker, batch from torture.delivery) b)::float8 as batches,
         (select count(*) from torture.redelivery)::float8 as redelivered,
         (select coalesce(jsonb_object_agg(kind, n), '{}')
          from (select kind, count(*) as n from torture.mishap group by kind) m) as mishaps,
         (select coalesce(jsonb_object_agg(kind, n), '{}')
          from (select coalesce(explained_by, 'nothing') as kind, count(*) as n
                from torture.redelivery group by 1) r) as explained,
         (select count(*) from torture.reign where previous_ran_out)::float8 as "ranOut",
         (select count(*) from torture.reign where not previous_ran_out and token > 1)::float8 as "givenBack",
         (select max(lane) + 1 from torture.delivery)::float8 as lanes`;

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
    `            ${n(tally.committed)} transactions committed, ${n(tally.rolledBack)} rolled back, ${n(tally.autocommitted)} autocommits, ${n(tally.savepointsRolledBack)} savepoints rolled back, ${n(tally.prepared)} prepared (${n(tally.orphans)} of them left undecided), ${n(tally.cut)} cut off`,
    ...mishapGroups.map(
      (kinds, line) => `${line === 0 ? 'mishaps ' : '        '}    ${counts(figures.mishaps, kinds)}`,
    ),
    `            the lease changed hands ${n(figures.ranOut)} times by its deadline, ${n(figures.givenBack)} times by being given back`,
    `delivered   ${n(figures.deliveries)} to ${options.groups} groups of up to ${figures.lanes} lanes in ${n(figures.batches)} batches, ${n(figures.late)} late`,
    `again       ${n(figures.redelivered)}${figures.redelivered === 0 ? '' : `, because of: ${counts(figures.explained, Object.keys(figures.explained))}`}`,
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

/** One line each: a summary that names only what struck would hide what did not. */
const mishapGroups = [workerMishapKinds, requestMishapKinds, worldMishapKinds];

function counts(of: Readonly<Record<string, number>>, kinds: readonly string[]): string {
  return kinds.map((kind) => `${kind} ${n(of[kind] ?? 0)}`).join(', ');
}

function renderCheck({ name, meaning, count, offenders }: Check): string[] {
  return [
    `${name.padEnd(12)} ${n(count)}  ${meaning}`,
    ...offenders.map((offender) => `    ${offender}`),
    ...(count > offenders.length ? [`    … and ${n(count - offenders.length)} more`] : []),
  ];
}
