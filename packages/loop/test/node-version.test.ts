import { expect, test } from 'vitest';
import { assertNodeVersion } from '../src/node-version.ts';

test.each(['20.20.2', '22.21.0', '8.0.0'])(
  'refuses Node.js %s by name, and says where a newer one is',
  (version) => {
    expect(() => assertNodeVersion(version)).toThrow(
      expect.objectContaining({
        code: 'LOOP_NODE_UNSUPPORTED',
        message: `expected Node.js 24 or later to run on, got ${version}`,
        hint: expect.stringContaining('npx node'),
      }),
    );
  },
);

test.each(['24.0.0', '25.1.0', '100.0.0'])('takes Node.js %s', (version) => {
  expect(() => assertNodeVersion(version)).not.toThrow();
});
