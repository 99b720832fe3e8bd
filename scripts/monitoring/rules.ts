// The alert rules: read from rules.yaml, and as the custom resource that the Prometheus operator takes.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse, stringify } from 'yaml';

export const MONITORING = join(import.meta.dirname, '..', '..', 'k8s', 'components', 'monitoring');

export interface RuleFile {
  readonly groups: readonly { readonly name: string; readonly rules: readonly PrometheusRule[] }[];
}

export interface PrometheusRule {
  readonly alert?: string;
  readonly record?: string;
  readonly expr: string;
  readonly for?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
}

export function readRules(): RuleFile {
  return parse(readFileSync(join(MONITORING, 'rules.yaml'), 'utf8')) as RuleFile;
}

export function customResource(rules: RuleFile): string {
  const object = {
    apiVersion: 'monitoring.coreos.com/v1',
    kind: 'PrometheusRule',
    metadata: { name: 'pulsebox', labels: { 'app.kubernetes.io/part-of': 'pulsebox' } },
    spec: rules,
  };
  return `# Made from rules.yaml by \`npm run k8s:generate\`.\n${stringify(object, { lineWidth: 0 })}`;
}
