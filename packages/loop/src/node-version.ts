// Which Node.js this code needs. Found out at the start, not by a method that is missing in the midst of it.

import { LoopError } from './loop-error.ts';

/** As `engines` in package.json has it: what is tested. */
const OLDEST_NODE = 24;

/** @throws LoopError LOOP_NODE_UNSUPPORTED */
export function assertNodeVersion(version: string): void {
  if (Number.parseInt(version, 10) >= OLDEST_NODE) return;
  throw new LoopError(
    'LOOP_NODE_UNSUPPORTED',
    `expected Node.js ${OLDEST_NODE} or later to run on, got ${version}`,
    { hint: 'in a checkout `npx node …` runs the one that was installed with the dependencies' },
  );
}
