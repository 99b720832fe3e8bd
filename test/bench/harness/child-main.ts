// The other end of child.ts: runs one job, reports its output and what the process used, and ends.

import type { Channel, FromChild, Job, ToChild } from './channel.ts';

const send = async (message: FromChild): Promise<void> =>
  new Promise((resolve) => {
    process.send?.(message, undefined, undefined, () => resolve());
  });

let stop: () => void = () => undefined;
const channel: Channel = {
  ready: (said) => void send({ kind: 'ready', said }),
  stopped: new Promise((resolve) => {
    stop = resolve;
  }),
};

process.on('message', (message: ToChild) => {
  if ('stop' in message) stop();
  else void run(message.request.job, message.request.input);
});
// A bench that was killed leaves no child behind.
process.on('disconnect', () => process.exit(1));

async function run(job: string, input: unknown): Promise<void> {
  const module = (await import(`../jobs/${job}.ts`)) as { readonly default: Job<unknown, unknown> };
  const output = await module.default(input, channel);
  const { userCPUTime, systemCPUTime, maxRSS } = process.resourceUsage();
  const usage = { cpuSeconds: (userCPUTime + systemCPUTime) / 1e6, peakRssMiB: maxRSS / 1024 };
  await send({ kind: 'done', output, usage });
  process.exit(0);
}
