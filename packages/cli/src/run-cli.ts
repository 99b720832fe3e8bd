// Runs one command line from its parsing to its exit code.

import { CommanderError } from 'commander';
import { commandLineFault, spellOutHelp } from './command-line-fault.ts';
import { exitCodes } from './exit-code.ts';
import type { ExitCode } from './exit-code.ts';
import { faultOf } from './fault.ts';
import { createProgram } from './program.ts';
import { createTerminal } from './terminal.ts';

export interface CliProcess {
  /** Without node and script: `process.argv.slice(2)`. */
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  /** See `Session`. */
  readonly interruption: () => AbortSignal;
}

/** Never rejects: every fault is told on standard error and becomes an exit code. */
export async function runCli({ argv, env, cwd, interruption }: CliProcess): Promise<ExitCode> {
  let exitCode: ExitCode = exitCodes.ok;
  let signal: AbortSignal | undefined;
  const interrupted = (): AbortSignal => (signal ??= interruption());
  const program = await createProgram(async (command) => {
    exitCode = await command({
      env,
      cwd,
      interruption: interrupted,
      terminal: createTerminal({ json: argv.includes('--json') }),
    });
  }, argv);
  try {
    const line = spellOutHelp(program, argv);
    if ('exitCode' in line) {
      createTerminal({ json: argv.includes('--json') }).fault(line);
      return line.exitCode;
    }
    await program.parseAsync(line, { from: 'user' });
    return exitCode;
  } catch (error) {
    const terminal = createTerminal({ json: argv.includes('--json') });
    if (signal?.aborted === true) {
      terminal.remark('interrupted');
      return exitCodes.interrupted;
    }
    if (error instanceof CommanderError) {
      if (error.exitCode === 0) return exitCodes.ok;
      // Help was asked for by giving no command, and is already shown.
      if (error.code !== 'commander.help') terminal.fault(commandLineFault(error, program, argv));
      return exitCodes.usage;
    }
    const fault = faultOf(error);
    terminal.fault(fault);
    const wanted = argv.includes('--verbose') || (env['DEBUG'] ?? '') !== '';
    if (wanted) process.stderr.write(`${describe(error)}\n`);
    return fault.exitCode;
  }
}

/** The stack with those of all causes. */
function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { stack = error.message, cause } = error;
  return cause === undefined ? stack : `${stack}\ncaused by ${describe(cause)}`;
}
