// What a container finds in its environment, by variable: from its own list, and from the ConfigMaps that it takes whole.

import { ALL_VARIABLES } from '../code.ts';
import type { ContainerSpec } from '../manifest.ts';
import type { Rendered } from '../rule.ts';

/** The value that the manifests give a variable, or the default of the code. Undefined: a Secret's, or nobody's. */
export function settingOf(
  { manifests }: Pick<Rendered, 'manifests'>,
  container: ContainerSpec,
  name: string,
): string | undefined {
  const own = container.env?.find((variable) => variable.name === name);
  if (own !== undefined) return own.value;
  const maps = (container.envFrom ?? []).flatMap(({ configMapRef }) =>
    manifests.filter(({ kind, metadata }) => kind === 'ConfigMap' && metadata.name === configMapRef?.name),
  );
  return (
    maps.findLast(({ data }) => data?.[name] !== undefined)?.data?.[name] ?? ALL_VARIABLES[name]?.defaultText
  );
}

/** The names of all variables that are set, whatever their values are. */
export function namesOf({ manifests, contract }: Rendered, container: ContainerSpec): string[] {
  const fromMaps = (container.envFrom ?? []).flatMap(({ configMapRef, secretRef }) => {
    const [kind, name] =
      configMapRef === undefined ? ['Secret', secretRef?.name] : ['ConfigMap', configMapRef.name];
    const there = manifests.find((manifest) => manifest.kind === kind && manifest.metadata.name === name);
    return there === undefined
      ? [...(contract.keys.get(`${kind} ${name}`) ?? [])]
      : Object.keys({ ...there.data, ...there.stringData });
  });
  return [...new Set([...(container.env ?? []).map(({ name }) => name), ...fromMaps])];
}
