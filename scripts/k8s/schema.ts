// Holds rendered objects against the API's schemas, offline. The types of `kubernetes-models` are the schemas as TypeScript:
// written down as an object literal, a field that does not exist is an error of the compiler, and so is a value of the wrong
// type. Its validators then look at what types cannot say, such as the form of quantities and names.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { nameOf } from './manifest.ts';
import type { Manifest } from './manifest.ts';

const ROOT = join(import.meta.dirname, '..', '..');

/** Where the model of a kind is. Undefined: no package has one, which is a fault of its own. */
export function modelOf({ apiVersion }: Manifest): string | undefined {
  if (!apiVersion.includes('/')) return `kubernetes-models/${apiVersion}`;
  const [group = ''] = apiVersion.split('/');
  if (!group.includes('.') || group.endsWith('.k8s.io')) return `kubernetes-models/${apiVersion}`;
  const packages: Readonly<Record<string, string>> = {
    'keda.sh': 'keda',
    'networking.istio.io': 'istio',
    'security.istio.io': 'istio',
    'monitoring.coreos.com': 'prometheus-operator',
    'external-secrets.io': 'external-secrets',
  };
  const name = packages[group];
  return name === undefined ? undefined : `@kubernetes-models/${name}/${apiVersion}`;
}

export interface Labelled {
  readonly from: string;
  readonly manifest: Manifest;
}

/** All at once: the compiler's start is what costs. */
export async function schemaFaults(objects: readonly Labelled[]): Promise<string[]> {
  const known = objects.filter(({ manifest }) => modelOf(manifest) !== undefined);
  const unknown = objects.filter(({ manifest }) => modelOf(manifest) === undefined);
  return [
    ...unknown.map(
      ({ from, manifest }) => `${from}: ${nameOf(manifest)}: no schema for ${manifest.apiVersion}`,
    ),
    ...typeFaults(known),
    ...(await formFaults(known)),
  ];
}

function typeFaults(objects: readonly Labelled[]): string[] {
  const folder = mkdtempSync(join(tmpdir(), 'pulsebox-schema-'));
  try {
    symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
    const texts = objects.map(
      ({ manifest }, index) =>
        `export const _${index}: import('${modelOf(manifest)}').I${manifest.kind} = ${JSON.stringify(manifest, undefined, 1)};`,
    );
    // The line before the first one of each object.
    const starts = texts.map(
      (_, index) => texts.slice(0, index).join('\n').split('\n').length - (index === 0 ? 1 : 0),
    );
    writeFileSync(join(folder, 'manifests.ts'), texts.join('\n'));
    writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
    writeFileSync(
      join(folder, 'tsconfig.json'),
      JSON.stringify({
        compilerOptions: {
          target: 'es2024',
          module: 'preserve',
          moduleResolution: 'bundler',
          strict: true,
          skipLibCheck: true,
          noEmit: true,
          types: [],
        },
        files: ['manifests.ts'],
      }),
    );
    return compile(folder).map(({ line, message }) => {
      const index = starts.findLastIndex((start) => start < line);
      const found = objects[index];
      return `${found?.from}: ${found === undefined ? '' : nameOf(found.manifest)}: ${message}`;
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function compile(folder: string): { line: number; message: string }[] {
  try {
    execFileSync(
      process.execPath,
      [join(ROOT, 'node_modules/typescript/bin/tsc'), '--pretty', 'false', '-p', folder],
      {
        encoding: 'utf8',
        cwd: folder,
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    );
    return [];
  } catch (error) {
    const { stdout = '' } = error as { stdout?: string };
    const faults = [...stdout.matchAll(/^manifests\.ts\((\d+),\d+\): error TS\d+: (.*(?:\n {2,}.*)*)/gm)];
    if (faults.length === 0) throw error;
    return faults.map(([, line, message = '']) => ({
      line: Number(line),
      message: message.split('\n').at(-1)?.trim() ?? message,
    }));
  }
}

interface Model {
  validate(): void;
}

async function formFaults(objects: readonly Labelled[]): Promise<string[]> {
  const faults: string[] = [];
  for (const { from, manifest } of objects) {
    const models = (await import(modelOf(manifest) ?? '')) as Readonly<
      Record<string, (new (data: Manifest) => Model) | undefined>
    >;
    const Kind = models[manifest.kind];
    if (Kind === undefined) {
      faults.push(`${from}: ${nameOf(manifest)}: ${manifest.apiVersion} has no kind ${manifest.kind}`);
      continue;
    }
    try {
      new Kind(manifest).validate();
    } catch (error) {
      faults.push(`${from}: ${nameOf(manifest)}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  return faults;
}
