// npm run k8s:generate: writes what is made from other files: the PrometheusRule from rules.yaml, the dashboard's JSON from
// its code. A test fails while either is older than its source.

import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { generated } from './monitoring/generated.ts';

for (const { path, content } of generated()) {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
  console.log(`wrote ${path}`);
}
