// What `npm start` prints when everything is up.

import { styleText } from 'node:util';
import { checkout } from './checkout.ts';
import type { RunFile } from './run-file.ts';

export function whatNext(run: RunFile): string {
  const health = run.workers.map((worker) => `    ${worker.healthUrl}   ${dim(worker.name)}`);
  return `
${bold('Pulsebox is running.')} ${dim('Ctrl-C stops it, the database last.')}

  Is it well?
${health.join('\n')}

  Emit an event, and see that its position is reached:
    npx pulsebox emit note.taken '{"text":"hello"}' --key note:1
    npx pulsebox groups

  Push: ${dim('the public key, for pages to subscribe with, is in')} ${checkout.vapidKeys}
    npx pulsebox push subscriptions

  135,000 cities, row and event in one transaction each, in another terminal:
    npm run demo
    npx pulsebox search reykjavik

  A file of your own, in batches, with a progress bar:
    npx pulsebox import items.ndjson --org acme

  With SQL: ${dim('any client; the data stays for the next start')}
    ${run.databaseUrl}

`;
}

function bold(text: string): string {
  return styleText('bold', text, { stream: process.stdout });
}

function dim(text: string): string {
  return styleText('dim', text, { stream: process.stdout });
}
