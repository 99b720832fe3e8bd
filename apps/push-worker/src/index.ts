#!/usr/bin/env node
// node apps/push-worker/dist --loop

import { runWorkerCommand } from '@pulsebox/loop';
import { pushWorkerCommand } from './command.ts';

await runWorkerCommand(pushWorkerCommand, { argv: process.argv.slice(2), env: process.env });
