// How figures are written: few digits, units at hand.

export function ratio(value: number): string {
  return `${value.toFixed(value < 10 ? 2 : 1)} ×`;
}

export function percent(value: number): string {
  return `${(value * 100).toFixed(1)} %`;
}

export function perSecond(value: number): string {
  return `${Math.round(value).toLocaleString('en-GB')}/s`;
}

export function count(value: number): string {
  return Math.round(value).toLocaleString('en-GB');
}

export function ms(value: number): string {
  return `${value.toFixed(value < 100 ? 2 : 0)} ms`;
}

/** The least and the most of a figure that was measured several times. */
export function range(values: readonly number[], write: (value: number) => string): string {
  return `${write(Math.min(...values))} - ${write(Math.max(...values))}`;
}

export function bytes(value: number): string {
  if (value < 2 ** 10) return `${value.toFixed(0)} B`;
  return value < 2 ** 20 ? `${(value / 2 ** 10).toFixed(1)} KiB` : `${(value / 2 ** 20).toFixed(1)} MiB`;
}

export function seconds(value: number): string {
  return `${value.toFixed(2)} s`;
}

export function mib(value: number): string {
  return `${value.toFixed(0)} MiB`;
}
