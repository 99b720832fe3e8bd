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

  Import a file: each row is written with its event, and the search finds it
    npx pulsebox import examples/items.ndjson --org acme
    npx pulsebox search espresso

  Emit an event of your own, and see how far each group is
    npx pulsebox emit note.taken '{"text":"hello"}' --key note:1
    npx pulsebox groups

  135,000 cities, written and indexed while you watch
    npm run demo

  Write a consumer, make a table of yours searchable: ${dim('ten minutes')}
    docs/first-steps.md

  The database, for any client: ${dim('the data stays for the next start')}
    ${run.databaseUrl}
  The public key of push: ${dim('for pages to subscribe with')}
    ${checkout.vapidKeys}

`;
}

function bold(text: string): string {
  return styleText('bold', text, { stream: process.stdout });
}

function dim(text: string): string {
  return styleText('dim', text, { stream: process.stdout });
}
