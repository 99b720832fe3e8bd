// What a run has seen, in figures and as text.

import type { Queryable } from '@pulsebox/postgres';
import type { Check } from './checker.ts';
import {
  eventMishapKinds,
  operatorMishapKinds,
  requestMishapKinds,
  workerMishapKinds,
  worldMishapKinds,
} from './mishaps.ts';
import type { TortureOptions } from './plan.ts';
import type { Tally } from './producer.ts';
import { sinkMishapKinds } from './sink.ts';
import type { TrialKind } from './trials.ts';

export interface Figures {
  readonly events: number;
  readonly largest: number;
  /** Delivered after an event with a higher position had been. */
  readonly late: number;
  readonly deliveries: number;
  readonly batches: number;
  readonly redelivered: number;
  /** Events that fail, by how they do. */
  readonly trials: Readonly<Record<TrialKind, number>>;
  /** How often an attempt at one of them failed. */
  readonly refused: number;
  /** Steps of parked events, by what they are: see torture.parking. */
  readonly steps: Readonly<Record<string, number>>;
  /** Parked when all was quiet: dead letters, and what stood behind them. */
  readonly dead: number;
  readonly waiting: number;
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
          from (select trial ->> 'kind' as kind, count(*) as n from torture.emitted where trial is not null group by 1) t) as trials,
         (select count(*) from torture.refusal)::float8 as refused,
         (select coalesce(jsonb_object_agg(step, n), '{}')
          from (select step, count(*) as n from torture.parking group by step) p) as steps,
         (select count(*) from outbox.parked where state = 'dead')::float8 as dead,
         (select count(*) from outbox.parked where state = 'parked')::float8 as waiting,
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
    `            ${counts(figures.trials, trialKinds)}: events that fail in one of the groups, some of them for good`,
    ...mishapGroups.map(
      (kinds, line) => `${line === 0 ? 'mishaps ' : '        '}    ${counts(figures.mishaps, kinds)}`,
    ),
    `            the lease changed hands ${n(figures.ranOut)} times by its deadline, ${n(figures.givenBack)} times by being given back`,
    `delivered   ${n(figures.deliveries)} to ${options.groups} groups of up to ${figures.lanes} lanes in ${n(figures.batches)} batches, ${n(figures.late)} late`,
    `failed      ${n(figures.refused)} attempts; events ${counts(figures.steps, steps)}`,
    `            ${n(figures.dead)} dead letters are left, ${n(figures.waiting)} wait behind them`,
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
const mishapGroups = [
  [...workerMishapKinds, ...eventMishapKinds],
  requestMishapKinds.slice(0, 6),
  requestMishapKinds.slice(6),
  [...worldMishapKinds, ...sinkMishapKinds],
  operatorMishapKinds,
];
const trialKinds: readonly TrialKind[] = ['report', 'throw', 'hang', 'kill'];
const steps = ['parked', 'behind', 'failed again', 'redriven', 'dead', 'replayed', 'discarded'];

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
