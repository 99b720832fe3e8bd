// What the compiler, the validators and the comparison of renderings find, shown on manifests that are broken.

import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { idleEntries } from '../../scripts/k8s/idle-entries.ts';
import { parse } from '../../scripts/k8s/render.ts';
import { schemaFaults } from '../../scripts/k8s/schema.ts';
import { K8S } from '../../scripts/k8s/targets.ts';

const DEPLOYMENT = `
apiVersion: apps/v1
kind: Deployment
metadata: { name: worker }
spec:
  replicas: 1
  selector: { matchLabels: { a: b } }
  template:
    metadata: { labels: { a: b } }
    spec:
      containers:
        - { name: worker, image: pulsebox:1, resources: { limits: { memory: 1Gi } } }
`;

const SCALED = `
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: { name: worker }
spec:
  scaleTargetRef: { name: worker }
  triggers: [{ type: postgresql, metadata: { query: select 1 } }]
`;

test('takes manifests that follow the schemas, and names what does not in those that do not', async () => {
  const broken: readonly [string, string, string][] = [
    [DEPLOYMENT, 'replicas: 1', 'replicas: many'],
    [DEPLOYMENT, 'image:', 'imgae:'],
    [DEPLOYMENT, 'memory: 1Gi', 'memory: 1Gigabyte'],
    [DEPLOYMENT, 'selector:', 'selectors:'],
    [SCALED, 'scaleTargetRef:', 'scaleTarget:'],
    [DEPLOYMENT, 'apps/v1', 'unknown.example/v1'],
  ];
  const objects = [DEPLOYMENT, SCALED, ...broken.map(([text, good, bad]) => text.replace(good, bad))];
  const faults = await schemaFaults(
    objects.flatMap((text, index) => parse(text).map((manifest) => ({ from: String(index), manifest }))),
  );
  const of = (index: number): string => faults.filter((fault) => fault.startsWith(`${index}: `)).join('\n');
  expect([of(0), of(1)]).toEqual(['', '']);
  expect(of(2)).toMatch(/Type 'string' is not assignable to type 'number/);
  expect(of(3)).toMatch(/"imgae"' does not exist/);
  expect(of(4)).toMatch(/memory/);
  expect(of(5)).toMatch(/"selectors"' does not exist/);
  expect(of(6)).toMatch(/"scaleTarget"' does not exist/);
  expect(of(7)).toMatch(/no schema for unknown\.example\/v1/);
});

test('finds a patch whose target matches nothing, and says nothing of one that is needed', async () => {
  const copy = mkdtempSync(join(tmpdir(), 'pulsebox-mutant-'));
  onTestFinished(() => rmSync(copy, { recursive: true, force: true }));
  cpSync(K8S, copy, { recursive: true });
  expect(await idleEntries(copy, 'components/migrate-init')).toEqual([]);
  const path = join(copy, 'components/migrate-init/kustomization.yaml');
  writeFileSync(
    path,
    readFileSync(path, 'utf8').replace('kind: Deployment\n    patch', 'kind: Deployments\n    patch'),
  );
  expect((await idleEntries(copy, 'components/migrate-init')).join('\n')).toMatch(
    /components\/migrate-init\/kustomization\.yaml: patches\[0\] changes nothing/,
  );
});
