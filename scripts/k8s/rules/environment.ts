// Variables: whatever a Pod sets is one that some program reads, with a value that it takes; whatever a worker must have is
// set; and every secret that the code can be given is in the contract, and the other way round.

import { ALL_VARIABLES, NODE_VARIABLES, WORKERS } from '../code.ts';
import { containersOf, nameOf, podsOf, workersOf } from '../manifest.ts';
import type { ContainerSpec, MadePod } from '../manifest.ts';
import type { Rendered, Rule } from '../rule.ts';
import { namesOf, settingOf } from './settings.ts';

/** Without one of these a worker refuses to start: `checkDatabase`. */
const DATABASE = ['DATABASE_URL', 'POSTGRES_HOST'];
/** Keys of the contract that no Pod of ours reads, with who does. */
const READ_BY_OTHERS: Readonly<Record<string, string>> = { KEDA_DATABASE_URL: 'KEDA' };

export const environmentRule: Rule = (rendered) => [
  ...podsOf(rendered.manifests).flatMap((pod) =>
    containersOf(pod)
      .filter(({ image }) => isOurs(image))
      .flatMap((container) => [
        ...unknownVariables(rendered, pod, container),
        ...badValues(rendered, pod, container),
        ...misplacedSecrets(pod, container),
      ]),
  ),
  ...workersOf(rendered.manifests).flatMap((pod) => missing(rendered, pod)),
  ...contractFaults(rendered),
];

function isOurs(image: string): boolean {
  return /(?:^|\/)pulsebox(?:[:@]|$)/.test(image);
}

function unknownVariables(rendered: Rendered, pod: MadePod, container: ContainerSpec): string[] {
  return namesOf(rendered, container)
    .filter((name) => ALL_VARIABLES[name] === undefined && !NODE_VARIABLES.includes(name))
    .filter((name) => READ_BY_OTHERS[name] === undefined)
    .map((name) => `${nameOf(pod.owner)}, container ${container.name}: no program reads ${name}`);
}

function badValues(rendered: Rendered, pod: MadePod, container: ContainerSpec): string[] {
  return namesOf(rendered, container).flatMap((name) => {
    const variable = ALL_VARIABLES[name];
    const value = settingOf(rendered, container, name);
    if (variable === undefined || value === undefined || !variable.parse(value).fault) return [];
    return [
      `${nameOf(pod.owner)}, container ${container.name}: expected ${name} to be ${variable.expected}, got "${value}"`,
    ];
  });
}

/** A secret's value never stands in a manifest, nor in a ConfigMap. */
function misplacedSecrets(pod: MadePod, container: ContainerSpec): string[] {
  return (container.env ?? [])
    .filter(({ name, valueFrom }) => isSecret(name) && valueFrom?.secretKeyRef === undefined)
    .map(
      ({ name }) =>
        `${nameOf(pod.owner)}, container ${container.name}: ${name} is a secret and must come from a Secret`,
    );
}

function missing(rendered: Rendered, { owner, spec }: MadePod): string[] {
  const worker = WORKERS.find(({ name }) => name === owner.metadata.name);
  const [container] = spec.containers;
  if (worker === undefined || container === undefined) return [];
  const set = namesOf(rendered, container);
  const { variables } = worker;
  const required = Object.entries(variables).filter(
    ([name, { required: must }]) => must && !set.includes(name),
  );
  const secrets = Object.entries(variables).filter(([name, { secret }]) => secret && !set.includes(name));
  return [
    ...required.map(([name]) => `${nameOf(owner)}: ${worker.name} requires ${name}, and nobody sets it`),
    ...secrets.map(
      ([name]) =>
        `${nameOf(owner)}: ${worker.name} reads the secret ${name}, and no Secret's key is given to it`,
    ),
    ...(DATABASE.some((name) => set.includes(name))
      ? []
      : [`${nameOf(owner)}: neither ${DATABASE.join(' nor ')} is set`]),
    ...(container.env ?? [])
      .filter(({ name, valueFrom }) => valueFrom?.secretKeyRef !== undefined && variables[name] === undefined)
      .map(({ name }) => `${nameOf(owner)}: is given ${name}, which ${worker.name} does not read`),
  ];
}

/** The example's keys against the code: each is read by somebody, and every secret of the code is one of them. */
function contractFaults({ contract }: Rendered): string[] {
  const secrets = contract.keys.get('Secret app-secrets') ?? new Set();
  const settings = contract.keys.get('ConfigMap app-site') ?? new Set();
  return [
    ...[...secrets, ...settings]
      .filter((name) => ALL_VARIABLES[name] === undefined && READ_BY_OTHERS[name] === undefined)
      .map((name) => `contract.example.yaml: no program reads ${name}`),
    ...Object.entries(ALL_VARIABLES)
      .filter(([name, { secret }]) => secret && !secrets.has(name))
      .map(
        ([name]) =>
          `contract.example.yaml: the code reads the secret ${name}, which app-secrets does not have`,
      ),
    ...[...settings]
      .filter(isSecret)
      .map((name) => `contract.example.yaml: ${name} is a secret and stands in app-site`),
  ];
}

function isSecret(name: string): boolean {
  return ALL_VARIABLES[name]?.secret ?? false;
}
