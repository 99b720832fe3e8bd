// npm run k8s:deploy -- --overlay local|production [--namespace NAME] [--context NAME] [--dry-run]: checks, applies, waits for the
// migration and for every worker to be ready. --dry-run does all but speak to a cluster, and prints what it would run.

import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { stringify } from 'yaml';
import { readContract } from './k8s/contract.ts';
import { stepsOf } from './k8s/deployment.ts';
import { unpinned } from './k8s/pins.ts';
import { render } from './k8s/render.ts';
import { schemaFaults } from './k8s/schema.ts';
import { K8S } from './k8s/targets.ts';
import { faultsOf } from './k8s/verify.ts';

const { values } = parseArgs({
  options: {
    overlay: { type: 'string' },
    namespace: { type: 'string' },
    context: { type: 'string' },
    'dry-run': { type: 'boolean', default: false },
    k8s: { type: 'string', default: K8S },
  },
});
process.exitCode = await deploy();

async function deploy(): Promise<number> {
  const { overlay } = values;
  if (overlay !== 'local' && overlay !== 'production') {
    console.error(`expected --overlay local or production, got "${overlay ?? 'nothing'}"`);
    return 2;
  }
  const production = overlay === 'production';
  const manifests = render(join(values.k8s, 'overlays', overlay));
  const loose = production ? unpinned(manifests) : [];
  if (loose.length > 0) {
    console.error(
      `expected every image by digest, but ${loose.join(' and ')} ${loose.length === 1 ? 'is' : 'are'} not pinned\nhint: npm run k8s:pin -- --pulsebox NAME@sha256:… --postgres NAME@sha256:…`,
    );
    return 1;
  }
  const faults = [
    ...faultsOf({
      name: overlay,
      manifests,
      contract: readContract(),
      tenant: production,
      pinned: production,
    }),
    ...(await schemaFaults(manifests.map((manifest) => ({ from: overlay, manifest })))),
  ];
  if (faults.length > 0) {
    console.error(faults.join('\n'));
    return 1;
  }
  const folder = mkdtempSync(join(tmpdir(), 'pulsebox-deploy-'));
  try {
    const file = join(folder, 'manifests.yaml');
    // The local overlay has a password in it.
    writeFileSync(file, manifests.map((manifest) => stringify(manifest)).join('---\n'), { mode: 0o600 });
    const namespace = values.namespace ?? (production ? undefined : 'pulsebox');
    for (const { why, args } of stepsOf(manifests, { namespace, context: values.context, file })) {
      console.log(`# ${why}\nkubectl ${args.join(' ')}`);
      if (values['dry-run']) continue;
      // A namespace that this very apply makes is not there for a dry run on the server.
      if (args.includes('--dry-run=server') && !production && !hasNamespace(namespace)) continue;
      if (spawnSync('kubectl', args, { stdio: 'inherit' }).status !== 0) {
        console.error(
          `stopped: ${why} — did not come true; see docs/operations/deployment.md#when-it-does-not-come-up`,
        );
        return 1;
      }
    }
    console.log(values['dry-run'] ? 'a dry run: nothing was applied' : 'deployed');
    return 0;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function hasNamespace(name: string | undefined): boolean {
  try {
    execFileSync('kubectl', ['get', 'namespace', name ?? 'default', '-o', 'name'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}
