// What every npm script of a fresh clone goes through: install, build, then the script itself on Node 24.
// Runs before node_modules exists and on any Node from 20 up, so it is plain JavaScript without a dependency.

import { spawn } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { constants } from 'node:os';
import { delimiter, join, resolve } from 'node:path';

const root = resolve(import.meta.dirname ?? new URL('.', import.meta.url).pathname, '..');
const bin = join(root, 'node_modules', '.bin');

const tasks = {
  start: { build: true, command: ['node', 'apps/dev/dist/start.js'] },
  demo: { build: true, command: ['node', 'apps/dev/dist/demo.js'] },
  test: { build: true, command: ['vitest', 'run'] },
  bench: { build: true, command: ['node', 'test/bench/main.ts'] },
  soak: { build: true, command: ['node', 'test/bench/soak/main.ts'] },
  torture: { build: false, command: ['node', '--conditions=source', 'test/torture/main.ts'] },
};

const [task = '', ...args] = process.argv.slice(2);
if (!Object.hasOwn(tasks, task)) {
  fail(`expected one of ${Object.keys(tasks).join(', ')}, got "${task}"`);
}
const [major = 0] = process.versions.node.split('.').map(Number);
if (major < 20) fail(`expected Node 20 or later to install with, got ${process.versions.node}`);

/** The signal that this process was sent, or that Ctrl-C sent to all of them. */
let interruptedBy;

const { build, command } = tasks[task];
if (!isInstalled()) {
  say('installing dependencies (npm ci): about half a minute, more on a slow line');
  await run(
    'npm',
    ['ci', '--no-audit', '--no-fund', '--loglevel=error'],
    'the installation failed; npm says why above',
  );
}
if (!existsSync(join(bin, process.platform === 'win32' ? 'node.cmd' : 'node'))) {
  fail(
    'Node 24 did not come with the dependencies: install scripts are off? run `npm ci --ignore-scripts=false`',
  );
}
if (build) {
  // Incremental: a second run with nothing changed takes a moment.
  await run('tsc', ['-b'], 'the build failed; the messages above say where');
}
const [program, ...programArgs] = command;
process.exitCode = await spawned(program, [...programArgs, ...args]);

/** npm writes its own copy of the lock file last: it is missing after an install cut short, and old after a pull. */
function isInstalled() {
  const installed = join(root, 'node_modules', '.package-lock.json');
  return (
    existsSync(installed) && statSync(installed).mtimeMs >= statSync(join(root, 'package-lock.json')).mtimeMs
  );
}

async function run(program, programArgs, otherwise) {
  const code = await spawned(program, programArgs);
  // Whatever the program makes of it, and whatever it says: nothing has failed.
  if (interruptedBy !== undefined) process.exit(128 + constants.signals[interruptedBy]);
  if (code !== 0) fail(otherwise ?? `${program} ${programArgs.join(' ')} ended with code ${code}`);
}

/** Runs a program of node_modules/.bin, where the Node 24 of the npm package `node` stands first, and waits for it. */
function spawned(program, programArgs) {
  return new Promise((done) => {
    // Before there is a child: a signal that comes at once must not end this process alone.
    const note = (signal) => {
      interruptedBy = signal;
    };
    const pass = (signal) => {
      note(signal);
      child.kill('SIGTERM');
    };
    // Ctrl-C reaches the child by itself, being in the same process group; this process waits for it to end.
    // A signal sent to this process alone is passed on.
    process.on('SIGINT', note).on('SIGTERM', pass).on('SIGHUP', pass);
    const watch = whenOrphaned(() => pass('SIGTERM'));
    const child = spawn(program, programArgs, {
      cwd: root,
      stdio: 'inherit',
      shell: process.platform === 'win32',
      env: { ...process.env, ...compileCache(program), PATH: `${bin}${delimiter}${process.env.PATH ?? ''}` },
    });
    child.once('error', (error) => fail(`${program} could not be started: ${error.message}`));
    child.once('exit', (code, signal) => {
      clearInterval(watch);
      process.off('SIGINT', note).off('SIGTERM', pass).off('SIGHUP', pass);
      done(code ?? 128 + (constants.signals[signal] ?? 0));
    });
  });
}

/** Tests start hundreds of processes from the sources: what Node has made of these once, it need not make again. */
function compileCache(program) {
  return program === 'vitest' ? { NODE_COMPILE_CACHE: join(root, 'node_modules', '.cache', 'node') } : {};
}

/**
 * A signal to npm ends npm and the shell that it starts scripts with, and nobody else: what they had started would run
 * on without a terminal, a database and three workers. So the end of that shell counts as a signal. Nobody else's does:
 * who starts this without npm may well mean it to outlive them.
 */
function whenOrphaned(then) {
  if (process.env['npm_lifecycle_event'] === undefined) return undefined;
  const parent = process.ppid;
  const watch = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(watch);
    then();
  }, 500);
  return watch;
}

function say(message) {
  process.stderr.write(`pulsebox: ${message}\n`);
}

function fail(message) {
  say(message);
  process.exit(1);
}
