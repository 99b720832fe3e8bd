// The steps of a deployment, as kubectl commands in order.

import { nameOf } from './manifest.ts';
import type { Manifest } from './manifest.ts';

export interface DeploymentOptions {
  /** Where `kubectl` is pointed to by --namespace; undefined: the context's own. */
  readonly namespace: string | undefined;
  readonly context: string | undefined;
  /** A file with everything that is applied. */
  readonly file: string;
}

export interface Step {
  /** What it is for, in the words of a log. */
  readonly why: string;
  readonly args: readonly string[];
}

/** A Job's images must be pulled and its migrations applied within this. */
const MIGRATION_TIMEOUT = '900s';
/** startup 120 s, init containers 120 s each, and the pull of the image. */
const ROLLOUT_TIMEOUT = '600s';

export function stepsOf(manifests: readonly Manifest[], options: DeploymentOptions): readonly Step[] {
  const where = [
    ...(options.context === undefined ? [] : ['--context', options.context]),
    ...(options.namespace === undefined ? [] : ['--namespace', options.namespace]),
  ];
  const of = (kind: string): Manifest[] => manifests.filter((manifest) => manifest.kind === kind);
  const bringsSecret = of('Secret').length > 0;
  return [
    ...(bringsSecret
      ? []
      : [
          {
            why: 'the Secret that the operators provide is there',
            args: [...where, 'get', 'secret', 'app-secrets', '-o', 'name'],
          },
        ]),
    {
      why: 'the cluster takes every object',
      args: [...where, 'apply', '--dry-run=server', '-f', options.file],
    },
    { why: 'apply', args: [...where, 'apply', '-f', options.file] },
    ...of('Job').map((job) => ({
      why: `${nameOf(job)}: the schema first`,
      args: [
        ...where,
        'wait',
        '--for=condition=complete',
        `job/${job.metadata.name}`,
        `--timeout=${MIGRATION_TIMEOUT}`,
      ],
    })),
    ...[...of('StatefulSet'), ...of('Deployment')]
      .filter(({ spec }) => spec?.replicas !== 0)
      .map((workload) => ({
        why: `${nameOf(workload)} is rolled out and ready`,
        args: [
          ...where,
          'rollout',
          'status',
          `${workload.kind.toLowerCase()}/${workload.metadata.name}`,
          `--timeout=${ROLLOUT_TIMEOUT}`,
        ],
      })),
  ];
}
