// The runtime contract: names, labels, annotations, envelope.

import { checkSpec } from '../src/runtime-spec.ts';
import { faultsOf } from '@pulsebox/runtimes';
import { podOf, RUNTIME_SELECTOR, serviceOf } from '../src/manifests.ts';
import { runtimeName } from '../src/runtime-name.ts';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { SPEC } from './runtimes-world.ts';

const USER = '7f9c24e8-3b12-4fef-91e0-0d1b2c3d4e5f';
const START = '00000000-0000-4000-8000-000000000001';
const toMake = { userId: USER, startId: START, settings: { model: 'small' } };

const LABELS = {
  app: 'openclaw',
  'app.kubernetes.io/name': 'openclaw',
  'app.kubernetes.io/component': 'runtime',
  'app.kubernetes.io/managed-by': 'project-backend',
  'openclaw.instance': `openclaw-${USER}`,
  'copilot.user_id': USER,
  'copilot.managed': 'true',
};

const ANNOTATIONS = {
  'project.senticor.ai/runtime': 'openclaw-k8s',
  'project.senticor.ai/owner-user-id': USER,
  'project.senticor.ai/instance': `openclaw-${USER}`,
  'project.senticor.ai/start-id': START,
};

test('Pod and Service have the name, the labels and the annotations of the contract', () => {
  for (const { metadata } of [podOf(toMake, SPEC), serviceOf(toMake)]) {
    expect(metadata).toEqual({ name: `openclaw-${USER}`, labels: LABELS, annotations: ANNOTATIONS });
  }
  expect(serviceOf(toMake).spec).toEqual({
    type: 'ClusterIP',
    selector: { 'openclaw.instance': `openclaw-${USER}` },
    ports: [{ name: 'http', port: 18_789, targetPort: 'http' }],
  });
  expect(RUNTIME_SELECTOR).toBe('app=openclaw,copilot.managed=true');
});

test('a Pod has the resource envelope, may run under the policy `restricted`, and has no word with the API server', () => {
  const { spec } = podOf(
    { ...toMake },
    { ...SPEC, environmentSecret: 'app-secrets', imagePullSecret: 'registry' },
  );
  const [container] = spec?.containers ?? [];
  expect(container?.resources).toEqual({
    requests: { cpu: '100m', memory: '256Mi' },
    limits: { cpu: '500m', memory: '1Gi' },
  });
  expect(spec).toMatchObject({
    automountServiceAccountToken: false,
    enableServiceLinks: false,
    securityContext: { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } },
    imagePullSecrets: [{ name: 'registry' }],
  });
  expect(container).toMatchObject({
    securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
    envFrom: [{ secretRef: { name: 'app-secrets' } }],
  });
});

test('a name is safe as a DNS label, whatever the user is called, and the same each time', () => {
  fc.assert(
    fc.property(fc.string({ minLength: 1, maxLength: 200, unit: 'grapheme' }), (user) => {
      const name = runtimeName(user);
      expect(name).toMatch(/^openclaw-[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$/);
      expect(name.length).toBeLessThanOrEqual(63);
      expect(runtimeName(user)).toBe(name);
    }),
  );
});

test('no user can have the name of another, not by an id that is made for it either', () => {
  expect(runtimeName('ada')).toBe('openclaw-ada');
  expect(runtimeName('Ada')).not.toBe(runtimeName('ada'));
  expect(runtimeName('ada@example.org')).not.toBe(runtimeName('ada.example.org'));
  const taken = runtimeName('Ada').slice('openclaw-'.length);
  expect(runtimeName(taken)).not.toBe(runtimeName('Ada'));
  const long = 'a'.repeat(54);
  expect(runtimeName(long)).toBe(`openclaw-${long}`);
  expect(runtimeName(`${long}a`)).not.toContain(long);
  const users = fc.uniqueArray(fc.string({ minLength: 1, maxLength: 80 }), { minLength: 2, maxLength: 50 });
  fc.assert(
    fc.property(users, (ids) => {
      expect(new Set(ids.map(runtimeName)).size).toBe(ids.length);
    }),
  );
});

test('labels of a user whose id is no label are those that can be looked for', () => {
  const { metadata } = podOf({ ...toMake, userId: 'Ada@example.org' }, SPEC);
  expect(metadata?.labels?.['copilot.user_id']).toMatch(/^ada-example-org--[0-9a-f]{20}$/);
  expect(metadata?.annotations?.['project.senticor.ai/owner-user-id']).toBe('Ada@example.org');
});

test('an envelope that Kubernetes would refuse is refused here, with what was expected', () => {
  expect(checkSpec(SPEC)).toBe(SPEC);
  expect(() => checkSpec({ ...SPEC, resources: { ...SPEC.resources, memoryLimit: '1 GB' } })).toThrow(
    'expected memoryLimit to be a quantity such as 256Mi or 1Gi, got "1 GB"',
  );
  expect(() => checkSpec({ ...SPEC, image: '' })).toThrow('expected image to be an image');
  const names = { image: 'I', cpuRequest: 'A', cpuLimit: 'B', memoryRequest: 'C', memoryLimit: 'D' };
  expect(
    faultsOf({ ...SPEC, resources: { ...SPEC.resources, cpuRequest: '1', memoryRequest: '2Gi' } }, names),
  ).toEqual(['expected A to be at most B, got 1 and 500m', 'expected C to be at most D, got 2Gi and 1Gi']);
});
