// Who may do what with the API server: the verbs that packages/runtimes calls, and no more.

import { nameOf } from '../manifest.ts';
import type { Rule } from '../rule.ts';

const RESOURCES = ['pods', 'services'];
const VERBS = ['get', 'list', 'create', 'delete'];

export const rightsRule: Rule = ({ manifests }) =>
  manifests
    .filter(({ kind }) => kind.endsWith('Role') || kind.endsWith('RoleBinding'))
    .flatMap((manifest) => {
      if (manifest.kind.startsWith('Cluster'))
        return [`${nameOf(manifest)}: nothing here needs a right beyond its namespace`];
      return (manifest.rules ?? []).flatMap(({ apiGroups, resources, verbs }) => {
        const beyond = [
          ...apiGroups.filter((group) => group !== ''),
          ...resources.filter((resource) => !RESOURCES.includes(resource)),
          ...verbs.filter((verb) => !VERBS.includes(verb)),
        ];
        const lacking = VERBS.filter((verb) => !verbs.includes(verb));
        return [
          ...beyond.map((what) => `${nameOf(manifest)}: grants ${what}, which no code uses`),
          ...lacking.map((verb) => `${nameOf(manifest)}: lacks ${verb}, which packages/runtimes calls`),
        ];
      });
    });
