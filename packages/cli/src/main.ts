// The process of pulsebox: arguments, environment and signals go in, an exit code comes out.

import { runCli } from './run-cli.ts';

// A reader that has seen enough (`pulsebox groups | head -1`) is no fault.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
  });
}

const exitCode = await runCli({
  argv: process.argv.slice(2),
  // oxlint-disable-next-line node/no-process-env -- the one place where the command reads it
  env: process.env,
  cwd: process.cwd(),
  interruption,
});
await Promise.all([process.stdout, process.stderr].map(flushed));
// node-postgres leaves the socket open when it has no password for a server that asks for one: without this the
// command would hang until the server gives up, a minute later. Standard input may be open as well.
// oxlint-disable-next-line unicorn/no-process-exit -- see above
process.exit(exitCode);

function interruption(): AbortSignal {
  const controller = new AbortController();
  // Once: a second Ctrl-C ends the process at once.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => controller.abort());
  return controller.signal;
}

/** What was written to a pipe before is out, or its reader is gone. */
function flushed(stream: NodeJS.WriteStream): Promise<void> {
  return new Promise((resolve) => {
    stream.write('', () => resolve());
  });
}
