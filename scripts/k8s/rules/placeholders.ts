// Nothing that somebody meant to replace gets into a tenant's cluster.

import type { Rule } from '../rule.ts';

const PLACEHOLDER =
  /change-?me|\bTODO\b|\bFIXME\b|<[a-z][^>]*>|\bexample\.(?:com|org|net)\b|\bplaceholder\b|local-only|\byour-/i;

export const placeholdersRule: Rule = ({ manifests, tenant }) =>
  !tenant
    ? []
    : manifests.flatMap((manifest) =>
        texts(manifest)
          .filter(([, text]) => PLACEHOLDER.test(text))
          .map(
            ([path, text]) =>
              `${manifest.kind} ${manifest.metadata.name}: ${path} is a placeholder: "${text.slice(0, 60)}"`,
          ),
      );

function texts(value: unknown, path = ''): [string, string][] {
  if (typeof value === 'string') return [[path, value]];
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, child]) => texts(child, path === '' ? key : `${path}.${key}`));
}
