// What a run found: each measure with its verdict, and what must not have happened at all.

import { count } from '../harness/figures.ts';
import { renderTable } from '../harness/render-table.ts';
import { measureOf } from './measures.ts';
import { judge } from './verdict.ts';
import type { Limit, Verdict } from './verdict.ts';

export interface Sample {
  /** Since the load began. */
  readonly atMs: number;
  readonly values: Readonly<Record<string, number>>;
}

/** What was counted, and must be none. */
export interface Fault {
  readonly what: string;
  readonly count: number;
}

export interface Judged extends Verdict {
  readonly name: string;
  readonly unit: string;
  readonly limit?: Limit;
}

export interface SoakReport {
  readonly minutes: number;
  readonly rate: number;
  readonly machine: unknown;
  /** It was asked to end before its time, or is still under way. */
  readonly interrupted: boolean;
  readonly measures: readonly Judged[];
  readonly faults: readonly Fault[];
  /** What it did meanwhile, for people. */
  readonly done: Readonly<Record<string, number>>;
  readonly remarks: readonly string[];
  readonly passed: boolean;
}

/** One verdict for each name that occurs, in the order of names. */
export function judgeSamples(
  samples: readonly Sample[],
  { minutes, warmUpMs }: { readonly minutes: number; readonly warmUpMs: number },
): readonly Judged[] {
  const judged = samples.filter(({ atMs }) => atMs >= warmUpMs);
  const names = [...new Set(judged.flatMap(({ values }) => Object.keys(values)))].toSorted();
  return names.map((name) => {
    const points = judged.flatMap(({ atMs, values }) => {
      const value = values[name];
      return value === undefined || !Number.isFinite(value) ? [] : [{ atMs, value }];
    });
    const measure = measureOf(name, minutes);
    return { name, ...measure, ...judge(points, measure.limit) };
  });
}

export function renderReport(report: SoakReport): string {
  const { measures, faults, done, remarks, minutes, rate, interrupted } = report;
  const flatness = measures.map((measure) => [
    measure.name,
    withUnit(measure.middle, measure.unit),
    withUnit(measure.last, measure.unit),
    signed(measure.slopePerHour),
    limitOf(measure.limit),
    measure.flat === undefined ? '' : measure.flat ? 'flat' : '**not flat**',
  ]);
  const parts = [
    `Soak: ${minutes} minutes at ${rate} changes of items a second${interrupted ? ', not to its end' : ''}`,
    renderTable({
      head: ['measure', 'middle third', 'last third', 'slope an hour', 'limit', ''],
      rows: flatness,
    }),
    renderTable({
      head: ['must be none', ''],
      rows: faults.map((fault) => [fault.what, fault.count === 0 ? '0' : `**${count(fault.count)}**`]),
    }),
    renderTable({ head: ['done', ''], rows: Object.entries(done).map(([what, n]) => [what, count(n)]) }),
    ...(remarks.length === 0 ? [] : [`Lines above info:\n${remarks.join('\n')}`]),
    conclusion(report),
  ];
  return parts.join('\n\n');
}

function conclusion({ measures, interrupted, passed }: SoakReport): string {
  if (passed) return 'The soak passed: all is flat, and nothing was lost.';
  if (interrupted && measures.every(({ flat }) => flat !== false)) return 'So far all is flat.';
  return 'The soak did NOT pass.';
}

export function passes(measures: readonly Judged[], faults: readonly Fault[]): boolean {
  return measures.every(({ flat }) => flat !== false) && faults.every((fault) => fault.count === 0);
}

function limitOf(limit: Limit | undefined): string {
  if (limit === undefined) return '';
  const more = limit.more === 0 ? '' : `+${Math.round(limit.more * 100)} %`;
  return [more, limit.slack === 0 ? '' : `+${limit.slack}`].filter((part) => part !== '').join(' ');
}

function withUnit(value: number, unit: string): string {
  return `${rounded(value)}${unit === '' ? '' : ` ${unit}`}`;
}

function signed(value: number): string {
  return Number.isFinite(value) ? `${value > 0 ? '+' : ''}${rounded(value)}` : '-';
}

function rounded(value: number): string {
  if (!Number.isFinite(value)) return '-';
  return Math.abs(value) < 100 ? value.toFixed(2) : count(value);
}
