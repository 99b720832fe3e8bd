// Messages from Pub/Sub that were no mail notification, and wait for somebody to look.

import { countDeadLetters } from '@pulsebox/pubsub';
import { plural } from '../quantities.ts';
import type { Check } from './check.ts';
import { ok, warn } from './finding.ts';

export const pubsub: Check = {
  name: 'pubsub',
  needs: 'schema',
  async run({ pool }) {
    const letters = await countDeadLetters(pool);
    if (letters === 0) return ok('all messages from Pub/Sub were understood');
    return warn(
      `${plural(letters, 'message')} from Pub/Sub could not be understood`,
      'see why: pulsebox pubsub dead\nmend who publishes to the topic; then pulsebox pubsub discard',
    );
  },
};
