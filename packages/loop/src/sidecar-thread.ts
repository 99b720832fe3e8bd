// The sidecar's thread: watches the clocks, serves health and metrics. The main thread may be blocked all the while.

import { parentPort, workerData } from 'node:worker_threads';
import { healthReport, readyReport, startupReport, type Observed } from './health-report.ts';
import { createScrape } from './scrape.ts';
import { renderSidecarFamilies } from './sidecar-families.ts';
import type { FromSidecar, LoopChecks, SidecarData, ToSidecar } from './sidecar-messages.ts';
import { createSidecarServer } from './sidecar-server.ts';
import { createStallLog } from './stall-log.ts';
import { startWatch } from './watch.ts';

/** A main thread that is not blocked answers within milliseconds; a scrape may wait this long for it. */
const RENDER_WITHIN_MS = 200;
/** A beat older than two beats: the main thread is busy right now, and asking it would only cost the wait. */
const BUSY_AFTER_MS = 600;

if (parentPort === null) throw new Error('sidecar-thread is the code of a worker thread');
const port = parentPort;
const data: SidecarData = workerData;
const tell = (message: FromSidecar): void => {
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- the port of a thread, not a window
  port.postMessage(message);
};

let checks: LoopChecks = {};
const stallLog = createStallLog(data);
const watch = startWatch(data, stallLog);
const scrape = createScrape(() => {
  tell({ type: 'render' });
});

const observed = (): Observed => ({
  data,
  verdict: watch.verdict(),
  stuck: watch.stuck(),
  checks,
  blockedBy: stallLog.blockedBy(),
});

const server = createSidecarServer({
  reports: {
    '/health': () => healthReport(observed()),
    '/health/live': () => healthReport(observed()),
    '/health/ready': () => readyReport(observed()),
    '/health/startup': () => startupReport(observed()),
  },
  async metrics(): Promise<string> {
    if (watch.verdict().eventLoop.beatAgeMs < BUSY_AFTER_MS) await scrape.fresh(RENDER_WITHIN_MS);
    const figures = { stalls: watch.stalls(), snapshotAgeSeconds: scrape.ageSeconds };
    return scrape.text + renderSidecarFamilies(observed(), figures);
  },
});

server.on('error', (error: NodeJS.ErrnoException) => {
  tell({ type: 'failed', code: error.code, message: error.code ?? 'unknown error' });
});
server.listen({ port: data.port, ...(data.host === undefined ? {} : { host: data.host }) }, () => {
  const address = server.address();
  tell({
    type: 'listening',
    port: address !== null && typeof address === 'object' ? address.port : data.port,
  });
});

port.on('message', (message: ToSidecar) => {
  if (message.type === 'metrics') scrape.arrived(message.text);
  else if (message.type === 'checks') checks = message.checks;
  else close();
});

function close(): void {
  watch.close();
  server.close(() => {
    port.close();
  });
  server.closeIdleConnections();
  // A client that is slow to read its answer does not hold up the end of the worker.
  setTimeout(() => {
    server.closeAllConnections();
  }, 500).unref();
}
