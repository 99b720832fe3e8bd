// What is kept of an error with its job, for people: enough to find it by, and nothing that jsonb refuses.

/** Longer messages are cut. */
const LONGEST_TEXT = 2_000;

export interface FailedOutput {
  readonly message: string;
  readonly code?: string;
  readonly hint?: string;
  readonly cause?: string;
}

export function jobOutput(error: unknown): FailedOutput {
  if (!(error instanceof Error)) return { message: clean(typeof error === 'string' ? error : String(error)) };
  return {
    message: clean(error.message),
    ...text('code', 'code' in error ? error.code : undefined),
    ...text('hint', 'hint' in error ? error.hint : undefined),
    ...text('cause', error.cause instanceof Error ? error.cause.message : undefined),
  };
}

function text<Key extends string>(key: Key, value: unknown): { readonly [key in Key]?: string } {
  return typeof value === 'string' ? ({ [key]: clean(value) } as { [key in Key]: string }) : {};
}

/** jsonb takes neither NUL nor half a surrogate pair. */
function clean(value: string): string {
  return value.slice(0, LONGEST_TEXT).toWellFormed().replaceAll('\u0000', '\uFFFD');
}
