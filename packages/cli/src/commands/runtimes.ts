// pulsebox runtimes: agent runtimes on Kubernetes.

import type { Command } from 'commander';
import { declareReap } from './runtimes-reap.ts';
import { declareRuntimesList } from './runtimes-list.ts';
import { declareStop } from './runtimes-stop.ts';
import { declareWhy } from './runtimes-why.ts';
import type { Run } from '../session.ts';

export function declareRuntimes(program: Command, run: Run): void {
  const runtimes = program
    .command('runtimes')
    .summary('see, stop and explain agent runtimes')
    .description('Shows agent runtimes, stops them, and says why each is as it is.')
    .helpCommand(false);
  declareRuntimesList(runtimes, run);
  declareWhy(runtimes, run);
  declareStop(runtimes, run);
  declareReap(runtimes, run);
}
