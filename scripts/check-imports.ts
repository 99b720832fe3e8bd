// The import rule of ARCHITECTURE.md, "Rooms", enforced: who may import whom, and that every import is declared.

import { globSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { builtinModules } from 'node:module';

/** Packages of this repository that a package may import. A type-only import is allowed from those in `types`. */
interface Rule {
  readonly values: readonly string[];
  readonly types: readonly string[];
}

const PLATFORM = ['loop', 'postgres', 'outbox', 'jobs'] as const;

/** Capabilities know the log, jobs, the database and the loop's types, and never each other. */
const CAPABILITY: Rule = { values: ['outbox', 'jobs', 'postgres'], types: ['loop'] };

const RULES: Readonly<Record<string, Rule>> = {
  'packages/loop': { values: [], types: [] },
  'packages/postgres': { values: [], types: [] },
  'packages/jobs': { values: ['postgres'], types: ['loop'] },
  'packages/outbox': { values: ['postgres', 'jobs'], types: ['loop'] },
  'packages/app-schema': { values: [], types: ['postgres'] },
  'packages/search': CAPABILITY,
  'packages/gmail': CAPABILITY,
  'packages/pubsub': CAPABILITY,
  'packages/push': CAPABILITY,
  'packages/imports': CAPABILITY,
  'packages/runtimes': CAPABILITY,
  // It watches what the others do, by the API of OpenTelemetry that they know as well: it needs none of them.
  'packages/tracing': { values: [], types: ['loop'] },
  'packages/worker-base': { values: [...PLATFORM, 'search', 'gmail', 'runtimes', 'tracing'], types: [] },
};

/** The rooms inside a package, each of which knows only those before it. What lies beside them knows all. */
const ROOMS_WITHIN: Readonly<Record<string, readonly string[]>> = {
  'packages/outbox': ['log', 'read', 'lease', 'deliver', 'parked', 'dead', 'group', 'lane', 'upkeep'],
};

/** They compose: they may import every package, and nobody imports them. */
const COMPOSERS = ['apps/', 'packages/cli'];

const IMPORT =
  /^\s*(?:import|export)\s+(type\s)?(?:[^'"]*?\sfrom\s+)?['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]\s*\)/gm;

const root = join(import.meta.dirname, '..');
const faults = globSync('{packages,apps}/*/src/**/*.ts', { cwd: root }).flatMap(check);
for (const fault of faults) process.stderr.write(`${fault}\n`);
process.stderr.write(
  faults.length === 0
    ? 'the import rule holds\n'
    : `${faults.length} imports break the rule of ARCHITECTURE.md\n`,
);
process.exitCode = faults.length === 0 ? 0 : 1;

function check(file: string): string[] {
  const room = file.split('/').slice(0, 2).join('/');
  const source = readFileSync(join(root, file), 'utf8');
  const { dependencies = {}, peerDependencies = {} } = JSON.parse(
    readFileSync(join(root, room, 'package.json'), 'utf8'),
  ) as { dependencies?: Record<string, string>; peerDependencies?: Record<string, string> };
  return [...source.matchAll(IMPORT)].flatMap(([, type, from, dynamic]) => {
    const target = from ?? dynamic ?? '';
    const fault = faultOf({
      file,
      room,
      target,
      typeOnly: type !== undefined,
      declared: { ...dependencies, ...peerDependencies },
    });
    return fault === undefined ? [] : [`${file}: ${fault}`];
  });
}

function faultWithin(room: string, file: string, reached: string): string | undefined {
  const rooms = ROOMS_WITHIN[room];
  if (rooms === undefined) return undefined;
  const [from = '', to = ''] = [file, reached].map((path) => path.slice(`${room}/src/`.length).split('/')[0]);
  const [place, other] = [rooms.indexOf(from), rooms.indexOf(to)];
  return place !== -1 && other > place ? `${from} may not import ${to}, which builds on it` : undefined;
}

interface Import {
  readonly file: string;
  readonly room: string;
  readonly target: string;
  readonly typeOnly: boolean;
  readonly declared: Readonly<Record<string, string>>;
}

function faultOf({ file, room, target, typeOnly, declared }: Import): string | undefined {
  if (target.startsWith('.')) {
    const reached = relative(root, join(root, dirname(file), target));
    if (!reached.startsWith(`${room}/`)) return `${target} leaves the package; import it by its name`;
    return faultWithin(room, file, reached);
  }
  if (target.startsWith('node:')) return undefined;
  if (builtinModules.includes(target)) return `write node:${target}`;
  const name = target
    .split('/')
    .slice(0, target.startsWith('@') ? 2 : 1)
    .join('/');
  if (declared[name] === undefined) return `${name} is not among the dependencies of ${room}`;
  if (!name.startsWith('@pulsebox/')) return undefined;
  if (target !== name) return `${target} reaches past the entry of ${name}`;
  if (COMPOSERS.some((composer) => room.startsWith(composer))) return undefined;
  const sibling = name.slice('@pulsebox/'.length);
  const rule = RULES[room];
  if (rule === undefined) return `no rule for ${room}: add one to scripts/check-imports.ts`;
  if (rule.values.includes(sibling) || (typeOnly && rule.types.includes(sibling))) return undefined;
  return rule.types.includes(sibling)
    ? `only types may be imported from ${name}`
    : `${room} may not import ${name}`;
}
