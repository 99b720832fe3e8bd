// What comes with the workers, by the lock file: under licences that their users can live with, as it was when it was locked,
// and with no code that runs at installation but what was decided on.

import { readFileSync } from 'node:fs';

interface Locked {
  readonly version?: string;
  readonly license?: string;
  readonly integrity?: string;
  readonly resolved?: string;
  readonly dev?: boolean;
  readonly optional?: boolean;
  readonly link?: boolean;
  readonly hasInstallScript?: boolean;
}

/** Of package-lock.json and package.json, what is looked at. */
export interface Dependencies {
  readonly packages: Readonly<Record<string, Locked>>;
  readonly allowScripts: Readonly<Record<string, boolean>>;
}

/** Those that ask for their text to be kept, or for nothing; and one that asks for changes to its own files. */
const LICENCES: ReadonlySet<string> = new Set([
  '0BSD',
  'Apache-2.0',
  'BSD-2-Clause',
  'BSD-3-Clause',
  'BlueOak-1.0.0',
  'CC0-1.0',
  'ISC',
  'MIT',
  // web-push, unchanged. Reaches no further than its own files.
  'MPL-2.0',
  'PSF-2.0',
  'Python-2.0',
  'Unlicense',
]);

/** Binaries for other platforms, whose entries in the lock file say nothing; those that were looked at. */
const UNSTATED: readonly (readonly [prefix: string, licence: string])[] = [['@msgpackr-extract/', 'MIT']];

/** Their scripts are not run: protobufjs only warns of how its version was asked for. */
const SCRIPTS_LEFT_OUT: ReadonlySet<string> = new Set(['protobufjs']);

const NODE_MODULES = 'node_modules/';

export function dependencyFaults({ packages, allowScripts }: Dependencies): string[] {
  return Object.entries(packages).flatMap(([path, locked]) => {
    if (!path.includes(NODE_MODULES) || locked.link === true) return [];
    const name = path.slice(path.lastIndexOf(NODE_MODULES) + NODE_MODULES.length);
    const label = `${name}@${locked.version ?? '?'}`;
    const faults: string[] = [];
    // Binaries for platforms that the lock file was not made on have none.
    if (locked.integrity === undefined && locked.optional !== true)
      faults.push(`${label}: expected an integrity hash, got none`);
    if (locked.resolved !== undefined)
      faults.push(`${label}: expected no address, got ${locked.resolved}; see .npmrc`);
    if (locked.hasInstallScript === true && !(name in allowScripts) && !SCRIPTS_LEFT_OUT.has(name))
      faults.push(`${label}: runs code when it is installed; decide on it in allowScripts of package.json`);
    // Tools of development are used here, and not handed on.
    if (locked.dev !== true && !isAllowed(licenceOf(name, locked)))
      faults.push(`${label}: expected one of ${[...LICENCES].join(', ')}, got ${licenceOf(name, locked)}`);
    return faults;
  });
}

function licenceOf(name: string, { license }: Locked): string {
  return license ?? UNSTATED.find(([prefix]) => name.startsWith(prefix))?.[1] ?? 'no licence';
}

/** Of several to choose from one is enough. */
function isAllowed(expression: string): boolean {
  return expression
    .replaceAll(/[()]/g, '')
    .split(' OR ')
    .some((licence) => LICENCES.has(licence.trim()));
}

if (import.meta.main) {
  const read = (name: string): unknown =>
    JSON.parse(readFileSync(new URL(`../${name}`, import.meta.url), 'utf8'));
  const { packages } = read('package-lock.json') as Pick<Dependencies, 'packages'>;
  const { allowScripts } = read('package.json') as Pick<Dependencies, 'allowScripts'>;
  const faults = dependencyFaults({ packages, allowScripts });
  for (const fault of faults) console.error(fault);
  if (faults.length > 0) process.exitCode = 1;
  else
    console.log(
      `dependencies: ${Object.keys(packages).length} entries of the lock file are as they should be`,
    );
}
