// Holds the codes of a package's errors against docs/errors.md and against the package's sources.

import { expect, test } from 'vitest';
import { explainedCodes, usedCodes } from './documented.ts';

export interface CodesOfPackage {
  /** `packages/gmail`. */
  readonly room: string;
  /** What its codes begin with: `GMAIL`. */
  readonly prefix: string;
  /** The list that the package exports. */
  readonly codes: readonly string[];
}

/** Two tests of the file that calls it, each of both directions. */
export function testErrorCodes({ room, prefix, codes }: CodesOfPackage): void {
  const listed = codes.toSorted();

  test('docs/errors.md explains every code of this package, and no other in its section', () => {
    expect(explainedCodes(room)).toEqual(listed);
  });

  test('every code is used, and every code that is used is in the list', () => {
    expect(usedCodes(room, prefix)).toEqual(listed);
  });
}
