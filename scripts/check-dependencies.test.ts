import { expect, test } from 'vitest';
import { dependencyFaults } from './check-dependencies.ts';

const good = { version: '1.0.0', license: 'MIT', integrity: 'sha512-x' };

function faults(packages: Parameters<typeof dependencyFaults>[0]['packages']): string[] {
  return dependencyFaults({ packages, allowScripts: { node: true } });
}

test('takes what is permitted, of several licences one, and tools of development under any', () => {
  expect(
    faults({
      '': {},
      'packages/loop': {},
      'node_modules/@pulsebox/loop': { link: true },
      'node_modules/a': good,
      'node_modules/a/node_modules/@s/b': { ...good, license: '(GPL-3.0-only OR Apache-2.0)' },
      'node_modules/tool': { ...good, license: 'GPL-3.0-only', dev: true },
      'node_modules/node': { ...good, hasInstallScript: true },
      'node_modules/@msgpackr-extract/for-another-platform': { version: '1.0.0', optional: true },
    }),
  ).toEqual([]);
});

test('names what is not', () => {
  const found = faults({
    'node_modules/a': { ...good, license: 'AGPL-3.0-only' },
    'node_modules/b': { version: '1.0.0', integrity: 'sha512-x' },
    'node_modules/c': { version: '1.0.0', license: 'MIT' },
    'node_modules/d': { ...good, resolved: 'https://somewhere/d.tgz' },
    'node_modules/e': { ...good, dev: true, hasInstallScript: true },
  });
  expect(found).toHaveLength(5);
  for (const [n, words] of [
    'got AGPL-3.0-only',
    'got no licence',
    'expected an integrity hash',
    'expected no address',
    'runs code when it is installed',
  ].entries())
    expect(found[n]).toContain(words);
});
