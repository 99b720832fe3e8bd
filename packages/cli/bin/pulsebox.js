#!/usr/bin/env node
// Finds out whether pulsebox can run here, and says so if not. Plain JavaScript that an old Node reads, too.

import { existsSync } from 'node:fs';
import * as nodeModule from 'node:module';
import { fileURLToPath } from 'node:url';

const OLDEST_NODE = 24;
const program = new URL('../dist/main.js', import.meta.url);

if (Number.parseInt(process.versions.node, 10) < OLDEST_NODE) {
  refuse(
    `expected Node ${OLDEST_NODE} or later, got ${process.versions.node}`,
    'inside the checkout, `npx pulsebox` puts the right Node on the PATH by itself',
  );
} else if (!existsSync(program)) {
  refuse('pulsebox is not built yet', 'run `npm run build` in the checkout first (`npm start` does it, too)');
} else {
  keepCompiled();
  await import(program.href);
}

/**
 * What Node has compiled is kept for the next call: it is most of the time that a command takes. Beside the code, and not in
 * the folder for temporary files, where a stranger could lay something down that runs as the operator. Where nothing can be
 * written, nothing is kept; NODE_COMPILE_CACHE and NODE_DISABLE_COMPILE_CACHE are heard.
 */
function keepCompiled() {
  nodeModule.enableCompileCache?.(fileURLToPath(new URL('../node_modules/.cache/compiled', import.meta.url)));
}

function refuse(fault, remedy) {
  process.stderr.write(`pulsebox: ${fault}\n  hint: ${remedy}\n`);
  process.exitCode = 2;
}
