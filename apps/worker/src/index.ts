#!/usr/bin/env node
// node apps/worker/dist --loop

import { runWorkerCommand } from '@pulsebox/loop';
import { workerCommand } from './command.ts';

await runWorkerCommand(workerCommand, { argv: process.argv.slice(2), env: process.env });
