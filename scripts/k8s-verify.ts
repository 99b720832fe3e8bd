// npm run k8s:verify: renders both overlays, and each component on top of one, and says everything that is wrong. Needs no
// cluster and no network: see k8s/README.md for what is checked.

import { TARGETS } from './k8s/targets.ts';
import { verify } from './k8s/verify.ts';

const { objects, faults } = await verify();
for (const fault of new Set(faults)) console.error(fault);
console.log(
  faults.length === 0
    ? `k8s:verify: ${objects} objects of ${TARGETS.length} renderings are as they should be`
    : `k8s:verify: ${new Set(faults).size} faults in ${TARGETS.length} renderings`,
);
process.exitCode = faults.length === 0 ? 0 : 1;
