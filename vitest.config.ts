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
    pool: 'forks',
    maxWorkers: 3,
    testTimeout: 30_000,
    hookTimeout: 60_000,
    reporters: ['default'],
  },
});
