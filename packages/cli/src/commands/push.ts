// pulsebox push: notify a user, and look at who can be notified.

import type { Command } from 'commander';
import type { Run } from '../session.ts';
import { declareSend } from './push-send.ts';
import { declareSubscriptions } from './push-subscriptions.ts';

export function declarePush(program: Command, run: Run): void {
  const push = program
    .command('push')
    .summary('notify a user; list push subscriptions')
    .description('Notifies a user, and lists the browsers that may be notified.');
  declareSend(push, run);
  declareSubscriptions(push, run);
}
