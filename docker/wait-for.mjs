// What init containers run: waits until the database takes this pod's own credentials (`postgres`), or until it has the
// schema that this image expects (`schema`), 120 seconds at most. Each try is `pulsebox migrate --check`, which changes
// nothing: its exit code tells "away" from "refused" from "not migrated yet".
//
//   node wait-for.mjs postgres|schema [seconds]

import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const PULSEBOX = fileURLToPath(new URL('packages/cli/bin/pulsebox.js', import.meta.url));
const PAUSE_MS = 2_000;

const [goal, limit = '120'] = process.argv.slice(2);
/** Exit codes of `migrate --check`: 0 nothing is pending, 1 something is, 2 refused, 3 away. */
const enough = { postgres: [0, 1], schema: [0] }[goal];
const limitSeconds = Number(limit);

if (enough === undefined || !(limitSeconds > 0)) {
  process.stderr.write(
    `wait-for: expected postgres or schema, and a number of seconds, got "${process.argv.slice(2).join(' ')}"\n`,
  );
  process.exitCode = 2;
} else {
  process.exitCode = await wait();
}

async function wait() {
  const deadline = performance.now() + limitSeconds * 1_000;
  let lastSaid = '';
  for (;;) {
    const { status, stdout, stderr } = spawnSync(process.execPath, [PULSEBOX, 'migrate', '--check'], {
      encoding: 'utf8',
      timeout: Math.ceil(Math.max(1_000, deadline - performance.now())),
    });
    if (enough.includes(status)) {
      process.stdout.write(`wait-for: ${goal} is there\n`);
      return 0;
    }
    // Said once each: what keeps us waiting, not that we still wait.
    const why = `${stderr}${stdout}`.trim();
    if (why !== lastSaid) process.stderr.write(`${why}\n`);
    lastSaid = why;
    if (performance.now() + PAUSE_MS >= deadline) {
      process.stderr.write(
        goal === 'schema'
          ? `wait-for: the schema was not there within ${limitSeconds} s: has the migration Job of this version run?\n`
          : `wait-for: no session with PostgreSQL within ${limitSeconds} s; why stands above\n`,
      );
      return 1;
    }
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
}
