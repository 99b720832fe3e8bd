// Google's own Pub/Sub emulator, where the Google Cloud SDK is on the machine with it.

import { spawn } from 'node:child_process';
import { globSync } from 'node:fs';
import { connect } from 'node:net';
import { eventually } from './eventually.ts';
import { freePort } from './free-port.ts';

export interface PubSubEmulator {
  /** `host:port`, for PUBSUB_EMULATOR_HOST. */
  readonly host: string;
  close(): Promise<void>;
}

const JARS = [
  '/usr/lib/google-cloud-sdk',
  '/usr/share/google-cloud-sdk',
  '/opt/google-cloud-sdk',
  '/opt/homebrew/share/google-cloud-sdk',
  `${process.env['HOME'] ?? ''}/google-cloud-sdk`,
].map((sdk) => `${sdk}/platform/pubsub-emulator/lib/*.jar`);

/** Ends the emulator when standard input closes, which happens whatever ends the process that started it. */
const KEEPER = 'java -jar "$0" "$@" </dev/null & read -r _; kill $!; wait $!';

/** The path of the jar; undefined where there is none. */
export function findPubSubEmulator(): string | undefined {
  return globSync(JARS).find((file) => file.includes('pubsub-emulator'));
}

export async function startPubSubEmulator(jar: string, port?: number): Promise<PubSubEmulator> {
  const taken = port ?? (await freePort());
  const keeper = spawn('sh', ['-c', KEEPER, jar, '--host=127.0.0.1', `--port=${taken}`], {
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  const exited = new Promise<void>((resolve) => keeper.once('exit', () => resolve()));
  await eventually(async () => await accepts(taken), {
    message: 'the Pub/Sub emulator did not start',
  });
  return {
    host: `127.0.0.1:${taken}`,
    async close(): Promise<void> {
      keeper.stdin.end();
      await exited;
    },
  };
}

async function accepts(port: number): Promise<boolean> {
  return await new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
