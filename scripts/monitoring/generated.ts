// Files that are made from others, with what should be in them.

import { join } from 'node:path';
import { dashboard } from './dashboard.ts';
import { customResource, MONITORING, readRules } from './rules.ts';

export interface GeneratedFile {
  readonly path: string;
  readonly content: string;
}

export function generated(): readonly GeneratedFile[] {
  return [
    { path: join(MONITORING, 'prometheus-rule.yaml'), content: customResource(readRules()) },
    {
      path: join(MONITORING, 'dashboards', 'pulsebox.json'),
      content: `${JSON.stringify(dashboard(), undefined, 2)}\n`,
    },
  ];
}
