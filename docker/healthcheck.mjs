// The image's HEALTHCHECK. One image holds three workers: this asks the one that the container was started with, which
// stands in the arguments of process 1, by that worker's own `healthcheck`. Runs inside the image, where there is no shell.

import { readFileSync } from 'node:fs';

const commandLine = readFileSync('/proc/1/cmdline', 'utf8').split('\0');
const worker = commandLine.flatMap((word) => /(?:^|\/)apps\/([a-z-]+)\/dist/.exec(word)?.slice(1) ?? [])[0];

if (worker === undefined) {
  // A container that runs `pulsebox` once has no sidecar to ask.
  process.stdout.write('no worker runs here\n');
} else {
  const program = new URL(`apps/${worker}/dist/index.js`, import.meta.url);
  process.argv = [process.argv[0], program.pathname, 'healthcheck', '--check', 'live'];
  await import(program.href);
}
