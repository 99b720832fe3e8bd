// Tells "the database cannot hold this value" from everything else that a statement fails of.

/** SQLSTATEs that a value is to blame for: data exceptions (22), limits of a value or an index row (54). */
const VALUE_FAULT = /^(?:22|54)\w{3}$/;

export function isValueFault(error: unknown): error is Error & { readonly code: string } {
  return error instanceof Error && 'code' in error && VALUE_FAULT.test(String(error.code));
}
