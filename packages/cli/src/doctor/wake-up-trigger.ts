// The trigger by which producers wake readers that sleep.

import type { Check } from './check.ts';
import { ok, warn } from './finding.ts';

/** One row: `O` or `A`: fires for producers. `D`: disabled, `R`: for replicas only. Null: not there. No index. */
const TRIGGER = `
  select (select tgenabled from pg_trigger
          where tgrelid = 'outbox.event'::regclass and tgname = 'wake_readers' and not tgisinternal) as enabled`;

const COST = 'without it nothing is lost, but events wait until a sleeping worker looks by itself';

export const wakeUpTrigger: Check = {
  name: 'wake-up-trigger',
  needs: 'schema',
  async run({ pool }) {
    const { rows } = await pool.query<{ enabled: string | null }>(TRIGGER);
    const enabled = rows[0]?.enabled ?? null;
    if (enabled === null) {
      return warn(
        `the trigger wake_readers is not there: ${COST}`,
        'create trigger wake_readers after insert on outbox.event for each statement execute function outbox.wake_readers();',
      );
    }
    return enabled === 'O' || enabled === 'A'
      ? ok('producers wake sleeping workers')
      : warn(
          `the trigger wake_readers is disabled: ${COST}`,
          'alter table outbox.event enable trigger wake_readers;',
        );
  },
};
