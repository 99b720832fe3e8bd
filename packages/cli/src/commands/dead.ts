// pulsebox dead: what consumer groups could not deliver, for people to look at, replay or discard.

import type { Command } from 'commander';
import type { Run } from '../session.ts';
import { declareDiscard } from './dead-discard.ts';
import { declareList } from './dead-list.ts';
import { declareReplay } from './dead-replay.ts';
import { declareShow } from './dead-show.ts';

const HELP = `
An event that its group cannot deliver is parked and tried again by itself, with growing
waits. After the last attempt it is a dead letter and waits for you. In a group that keeps
order, later events of its key wait behind it until it is replayed or discarded.

Examples:
  pulsebox dead list                          what is dead, and why
  pulsebox dead show search/1042              all that is known of one
  pulsebox dead replay --group search         try all of a group again
  pulsebox dead discard search/1042           give one up`;

export function declareDead(program: Command, run: Run): void {
  const dead = program
    .command('dead')
    .summary('list, show, replay or discard what could not be delivered')
    .description('Lists, shows, replays and discards dead letters: events that could not be delivered.')
    .addHelpText('after', HELP);
  declareList(dead, run);
  declareShow(dead, run);
  declareReplay(dead, run);
  declareDiscard(dead, run);
}
