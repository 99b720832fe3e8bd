// How values of flags are read: numbers, spans of time, flags that may be given several times.

import { InvalidArgumentError } from 'commander';

export function wholeNumber(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
    if (value >= least && value <= most) return value;
    throw new InvalidArgumentError(`Expected a whole number from ${least} to ${most}.`);
  };
}

const UNIT_SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600, d: 86_400, w: 604_800 };

/** `90s`, `30m`, `2h`, `1.5d`, `2w`; in seconds. */
export function timeSpan(text: string): number {
  const [, amount, unit = ''] = /^(\d{1,6}(?:\.\d{1,3})?)([smhdw])$/.exec(text.trim()) ?? [];
  const seconds = UNIT_SECONDS[unit];
  if (amount !== undefined && seconds !== undefined) return Number(amount) * seconds;
  throw new InvalidArgumentError('Expected a span of time such as 90s, 30m, 2h, 7d or 2w.');
}

/** For a flag that may be given several times: all its values. */
export function all(value: string, earlier: readonly string[] | undefined): readonly string[] {
  return [...(earlier ?? []), value];
}
