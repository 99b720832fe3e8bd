#!/usr/bin/env node
// node apps/watch-worker/dist --loop

import { runWorkerCommand } from '@pulsebox/loop';
import { watchWorkerCommand } from './command.ts';

await runWorkerCommand(watchWorkerCommand, { argv: process.argv.slice(2), env: process.env });
