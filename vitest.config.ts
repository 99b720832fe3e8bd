import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

// Tests run on the sources (the `source` export condition), so that a failing test names the line as written.
// One PostgreSQL server serves the whole run; every test file clones a database of its own from a template.
export default defineConfig({
  resolve: { conditions: ['source'] },
  ssr: { resolve: { conditions: ['source'], externalConditions: ['source'] } },
  test: {
    include: [
      'packages/*/test/**/*.test.ts',
      'apps/*/test/**/*.test.ts',
      'test/*/**/*.test.ts',
      'scripts/**/*.test.ts',
    ],
    globalSetup: ['test/support/src/global-setup.ts'],
    execArgv: ['--conditions=source'],
    // For the processes that tests start from the sources: what Node has made of these once, it need not make again.
    env: { NODE_COMPILE_CACHE: fileURLToPath(new URL('node_modules/.cache/node', import.meta.url)) },
    pool: 'forks',
    maxWorkers: 3,
    // Of a machine that has other work: what never comes is found out all the same. Well beyond what `eventually` waits
    // (120 s), which knows what it has waited for.
    testTimeout: 300_000,
    hookTimeout: 300_000,
    reporters: ['default'],
  },
});
