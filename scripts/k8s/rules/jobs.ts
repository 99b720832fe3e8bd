// Jobs end, leave nothing behind, and never run twice at once.

import { nameOf } from '../manifest.ts';
import type { Manifest } from '../manifest.ts';
import type { Rule } from '../rule.ts';

interface JobSpec {
  readonly activeDeadlineSeconds?: number;
  readonly ttlSecondsAfterFinished?: number;
  readonly concurrencyPolicy?: string;
  readonly startingDeadlineSeconds?: number;
  readonly timeZone?: string;
  readonly jobTemplate?: { readonly spec: JobSpec };
}

export const jobsRule: Rule = ({ manifests }) =>
  manifests.flatMap((manifest) => {
    const spec = manifest.spec as JobSpec | undefined;
    if (manifest.kind === 'Job') return ended(manifest, spec ?? {});
    if (manifest.kind !== 'CronJob' || spec === undefined) return [];
    return [
      ...ended(manifest, spec.jobTemplate?.spec ?? {}),
      ...(spec.concurrencyPolicy === 'Forbid'
        ? []
        : [`${nameOf(manifest)}: concurrencyPolicy is not Forbid`]),
      ...(spec.startingDeadlineSeconds === undefined
        ? [`${nameOf(manifest)}: has no startingDeadlineSeconds`]
        : []),
      ...(spec.timeZone === undefined ? [`${nameOf(manifest)}: has no timeZone`] : []),
    ];
  });

function ended(manifest: Manifest, { activeDeadlineSeconds, ttlSecondsAfterFinished }: JobSpec): string[] {
  return [
    ...(activeDeadlineSeconds === undefined ? [`${nameOf(manifest)}: has no activeDeadlineSeconds`] : []),
    ...(ttlSecondsAfterFinished === undefined ? [`${nameOf(manifest)}: has no ttlSecondsAfterFinished`] : []),
  ];
}
