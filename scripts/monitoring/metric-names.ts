// The metrics that a PromQL expression reads. @throws on one that does not parse

import { parser } from '@prometheus-io/lezer-promql';

export function metricNames(expr: string): string[] {
  // Grafana puts a duration there before Prometheus sees it.
  const text = expr.replaceAll('$__rate_interval', '5m');
  const names: string[] = [];
  parser.parse(text).iterate({
    enter({ type, from, to }) {
      if (type.isError)
        throw new Error(`expected PromQL, but ${expr} is none at "${text.slice(from, from + 20)}"`);
      if (type.name === 'Identifier' || type.name === 'MetricIdentifier') names.push(text.slice(from, to));
    },
  });
  return [...new Set(names)];
}

/** Histograms are exported as three families of series. */
export function familyOf(name: string): string {
  return name.replace(/_(?:bucket|count|sum)$/, '');
}
