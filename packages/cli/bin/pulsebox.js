#!/usr/bin/env node
// Finds out whether pulsebox can run here, and says so if not. Plain JavaScript that an old Node reads, too.

import { existsSync } from 'node:fs';

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
  await import(program.href);
}

function refuse(fault, remedy) {
  process.stderr.write(`pulsebox: ${fault}\n  hint: ${remedy}\n`);
  process.exitCode = 2;
}
