// What a check of the doctor found.

export interface Finding {
  /** `ok`: all is well. `warn`: it works, and may not tomorrow. `fail`: it does not work. `skip`: could not be asked. */
  readonly status: 'ok' | 'warn' | 'fail' | 'skip';
  /** One sentence. Never a password or a key. */
  readonly message: string;
  /** What to do about it: a command, a statement, a setting. Null when there is nothing to do. */
  readonly remedy: string | null;
}

export function ok(message: string): Finding {
  return { status: 'ok', message, remedy: null };
}

export function warn(message: string, remedy: string): Finding {
  return { status: 'warn', message, remedy };
}

export function fail(message: string, remedy: string): Finding {
  return { status: 'fail', message, remedy };
}

export function skip(message: string): Finding {
  return { status: 'skip', message, remedy: null };
}
