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

export function seconds(value: number): string {
  return `${value.toFixed(2)} s`;
}

export function mib(value: number): string {
  return `${value.toFixed(0)} MiB`;
}
