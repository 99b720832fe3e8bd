// Everything that `npm run k8s:verify` looks at.

import { budgetRule } from './rules/budget.ts';
import { environmentRule } from './rules/environment.ts';
import { imagesRule } from './rules/images.ts';
import { jobsRule } from './rules/jobs.ts';
import { meshRule } from './rules/mesh.ts';
import { placeholdersRule } from './rules/placeholders.ts';
import { podSecurityRule } from './rules/pod-security.ts';
import { probesRule } from './rules/probes.ts';
import { referencesRule } from './rules/references.ts';
import { rightsRule } from './rules/rights.ts';
import { scalingRule } from './rules/scaling.ts';
import { tenantRule } from './rules/tenant.ts';
import { readContract } from './contract.ts';
import { idleEntries } from './idle-entries.ts';
import { render } from './render.ts';
import type { Rendered, Rule } from './rule.ts';
import { schemaFaults } from './schema.ts';
import { TARGETS, withTarget } from './targets.ts';
import type { Target } from './targets.ts';

export const RULES: Readonly<Record<string, Rule>> = {
  tenant: tenantRule,
  images: imagesRule,
  'pod security': podSecurityRule,
  probes: probesRule,
  environment: environmentRule,
  references: referencesRule,
  budget: budgetRule,
  scaling: scalingRule,
  rights: rightsRule,
  placeholders: placeholdersRule,
  jobs: jobsRule,
  mesh: meshRule,
};

export async function renderTarget(target: Target): Promise<Rendered> {
  const production = target.overlay === 'production';
  return {
    name: target.name,
    manifests: await withTarget(target, render),
    contract: readContract(),
    tenant: production,
    pinned: production,
  };
}

export function faultsOf(rendered: Rendered): string[] {
  return Object.values(RULES).flatMap((rule) => rule(rendered).map((fault) => `${rendered.name}: ${fault}`));
}

export interface Verdict {
  readonly objects: number;
  readonly faults: readonly string[];
}

export async function verify(): Promise<Verdict> {
  const rendered: Rendered[] = [];
  for (const target of TARGETS) rendered.push(await renderTarget(target));
  const objects = rendered.flatMap(({ name, manifests }) =>
    manifests.map((manifest) => ({ from: name, manifest })),
  );
  return {
    objects: objects.length,
    faults: [...rendered.flatMap(faultsOf), ...(await schemaFaults(objects)), ...(await idleEntries())],
  };
}
