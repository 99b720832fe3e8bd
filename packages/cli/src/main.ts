// The process of pulsebox: arguments, environment and signals go in, an exit code comes out.

import { runCli } from './run-cli.ts';

// A reader that has seen enough (`pulsebox groups | head -1`) is no fault.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
  });
}

process.exitCode = await runCli({
  argv: process.argv.slice(2),
  // oxlint-disable-next-line node/no-process-env -- the one place where the command reads it
  env: process.env,
  cwd: process.cwd(),
  interruption,
});

function interruption(): AbortSignal {
  const controller = new AbortController();
  // Once: a second Ctrl-C ends the process at once.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => controller.abort());
  return controller.signal;
}
