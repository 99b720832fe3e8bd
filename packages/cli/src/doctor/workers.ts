import { askWorkers, knownWorkers } from '../worker-health.ts';
import type { WorkerHealth } from '../worker-health.ts';
import { printable } from '../terminal.ts';
import type { Check } from './check.ts';
import { fail, ok, skip } from './finding.ts';
import type { Finding } from './finding.ts';

export const workers: Check = {
  name: 'workers',
  needs: 'nothing',
  async run({ database, env }) {
    const known = knownWorkers(database, env);
    if (known.length === 0)
      return skip('workers were not asked: set WORKER_HEALTH_PORT, or run this beside npm start');
    return (await askWorkers(known)).map(judge);
  },
};

function judge({ name, status, healthUrl, problems }: WorkerHealth): Finding {
  const who = printable(name);
  if (status === 'ok') return ok(`${who} is well`);
  if (status === 'off')
    return fail(`${who} does not answer at ${healthUrl}`, 'start it, or mend WORKER_HEALTH_PORT');
  return fail(
    `${who} is ${printable([status, ...problems].join(', '))}`,
    'its log says where it is stuck, with a stack of the main thread',
  );
}
