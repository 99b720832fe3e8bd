// npm run torture: see README.md beside this file.

import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createTestDatabase } from '@pulsebox/test-support';
import { commandLineHelp, parseCommandLine } from './command-line.ts';
import type { CommandLine } from './command-line.ts';
import { mutants } from './mutants.ts';
import { renderReport } from './summary.ts';
import type { Report } from './summary.ts';
import { startTortureServer } from './server.ts';
import type { TortureServer } from './server.ts';
import { torture } from './torture.ts';

process.exitCode = await main(process.argv.slice(2));

async function main(argv: readonly string[]): Promise<number> {
  let line: CommandLine;
  try {
    line = parseCommandLine(argv);
  } catch (error) {
    console.error(`torture: ${error instanceof Error ? error.message : String(error)}`);
    return 2;
  }
  if (line.help) {
    console.log(commandLineHelp);
    return 0;
  }
  const interrupted = new AbortController();
  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const) {
    // The second one finds everything on its way out already; the exit itself kills what is left.
    process.on(signal, () => (interrupted.signal.aborted ? process.exit(code) : interrupted.abort(code)));
  }
  try {
    return await run(line, interrupted.signal);
  } catch (error) {
    if (interrupted.signal.aborted) return Number(interrupted.signal.reason);
    console.error(`torture: ${error instanceof Error ? error.message : String(error)}`);
    return 1;
  }
}

async function run({ options, databaseUrl, keep }: CommandLine, signal: AbortSignal): Promise<number> {
  const folder = await mkdtemp(join(tmpdir(), 'pulsebox-torture-'));
  // Under root the server runs as another account, which must be able to enter.
  await chmod(folder, 0o755);
  const server = databaseUrl === undefined ? await startTortureServer(folder) : undefined;
  try {
    const database = await createTestDatabase(databaseUrl ?? server?.url ?? '', { migrated: false });
    try {
      const { seed, durationMs, writers, workers, leaseTtlMs } = options;
      console.log(
        `seed ${seed}, ${durationMs / 1_000} s, ${writers} writers, ${workers} workers, ${options.groups} groups, lease ${leaseTtlMs} ms${options.mutant === undefined ? '' : `, mutant ${options.mutant}`}`,
      );
      const report = await torture(options, {
        databaseUrl: database.url,
        server,
        logFolder: folder,
        signal,
        onProgress: (line) => console.log(line),
      });
      console.log(`\n${renderReport(report)}`);
      if (keep)
        console.log(
          `\nkept: the workers' logs in ${folder}, the database ${database.name}${whereIs(server)}`,
        );
      return exitCode(report);
    } finally {
      if (keep) await database.pool.end();
      else await database.drop();
    }
  } finally {
    if (keep) {
      await server?.stop();
    } else {
      await server?.remove();
      await rm(folder, { recursive: true, force: true });
    }
  }
}

function whereIs(server: TortureServer | undefined): string {
  return server === undefined ? '' : ` in the data folder ${server.dataDirectory}`;
}

/** With a mutant the run must fail, and so it does; whether as it should is said besides. */
function exitCode({ options, checks, caughtUp, passed }: Report): number {
  if (options.mutant === undefined) return passed ? 0 : 1;
  const { about, caughtAs } = mutants[options.mutant];
  const failed = checks.filter(({ count }) => count > 0).map(({ name }) => name);
  const caught = caughtUp && failed.some((name) => caughtAs.includes(name));
  console.log(
    `\nthe mutant ${options.mutant} (${about}) was ${caught ? `caught: ${failed.join(', ')}` : 'NOT caught'}`,
  );
  return 1;
}
