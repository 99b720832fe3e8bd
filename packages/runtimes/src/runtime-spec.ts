// What every runtime is made of: image, resource envelope, and what else its Pod is given.

import { RuntimesError } from './runtimes-error.ts';

export interface ResourceEnvelope {
  /** Quantities of Kubernetes: `100m`, `256Mi`. */
  readonly cpuRequest: string;
  readonly memoryRequest: string;
  readonly cpuLimit: string;
  readonly memoryLimit: string;
}

export interface RuntimeSpec {
  readonly image: string;
  readonly resources: ResourceEnvelope;
  readonly imagePullPolicy?: 'Always' | 'IfNotPresent' | 'Never' | undefined;
  /** The name of a Secret of the type `kubernetes.io/dockerconfigjson`. */
  readonly imagePullSecret?: string | undefined;
  /** The name of a Secret whose keys become environment variables of the container. */
  readonly environmentSecret?: string | undefined;
}

/** The port that a runtime listens on, as its Service has it. */
export const RUNTIME_PORT = 18_789;

const UNITS: Readonly<Record<string, number>> = {
  '': 1,
  m: 1e-3,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
};

/** What is wrong with it, as sentences; none when it can be used. `names`: what its fields are called for whoever set them. */
export function faultsOf(
  spec: RuntimeSpec,
  names: Readonly<Record<keyof ResourceEnvelope | 'image', string>>,
): readonly string[] {
  const faults: string[] = [];
  if (!/^[a-z0-9][^\s@]*(?:@sha256:[0-9a-f]{64})?$/.test(spec.image)) {
    faults.push(
      `expected ${names.image} to be an image such as registry/openclaw:1.2, got ${JSON.stringify(spec.image)}`,
    );
  }
  const { cpuRequest, cpuLimit, memoryRequest, memoryLimit } = spec.resources;
  for (const field of ['cpuRequest', 'memoryRequest', 'cpuLimit', 'memoryLimit'] as const) {
    if (quantity(spec.resources[field]) !== undefined) continue;
    const example = field.startsWith('cpu') ? '100m or 0.5' : '256Mi or 1Gi';
    faults.push(
      `expected ${names[field]} to be a quantity such as ${example}, got ${JSON.stringify(spec.resources[field])}`,
    );
  }
  if (Number(quantity(cpuRequest)) > Number(quantity(cpuLimit)))
    faults.push(
      `expected ${names.cpuRequest} to be at most ${names.cpuLimit}, got ${cpuRequest} and ${cpuLimit}`,
    );
  if (Number(quantity(memoryRequest)) > Number(quantity(memoryLimit))) {
    faults.push(
      `expected ${names.memoryRequest} to be at most ${names.memoryLimit}, got ${memoryRequest} and ${memoryLimit}`,
    );
  }
  return faults;
}

const FIELDS = {
  image: 'image',
  cpuRequest: 'cpuRequest',
  memoryRequest: 'memoryRequest',
  cpuLimit: 'cpuLimit',
  memoryLimit: 'memoryLimit',
};

/** @throws RUNTIMES_CONFIG_INVALID */
export function checkSpec(spec: RuntimeSpec): RuntimeSpec {
  const faults = faultsOf(spec, FIELDS);
  if (faults.length === 0) return spec;
  throw new RuntimesError('RUNTIMES_CONFIG_INVALID', faults.join('; '), {
    hint: 'Kubernetes would refuse every Pod that is made of this',
  });
}

function quantity(text: string): number | undefined {
  const [, amount, unit = ''] = /^(\d+(?:\.\d+)?)([A-Za-z]{0,2})$/.exec(text) ?? [];
  const factor = UNITS[unit];
  const value = Number(amount) * (factor ?? Number.NaN);
  return value > 0 ? value : undefined;
}
