// A whole number on the command line.

import { InvalidArgumentError } from 'commander';

/** A parser for commander's options: what is out of range is a usage fault that says the range. */
export function wholeNumber(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
    if (value >= least && value <= most) return value;
    throw new InvalidArgumentError(`Expected a whole number from ${least} to ${most}.`);
  };
}
