// A rule looks at everything that one overlay renders to, and returns what is wrong as sentences.

import type { Contract } from './contract.ts';
import type { Manifest } from './manifest.ts';

export interface Rendered {
  /** What a fault is said of: `production`, `production with keda`. */
  readonly name: string;
  readonly manifests: readonly Manifest[];
  readonly contract: Contract;
  /** Somebody else's namespace: nothing that only its operators may make, and a budget. */
  readonly tenant: boolean;
  /** Every image is to be named by digest. */
  readonly pinned: boolean;
}

export type Rule = (rendered: Rendered) => readonly string[];
