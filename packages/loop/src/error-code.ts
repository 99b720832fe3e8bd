// The code of an error of anybody's making: EADDRINUSE, LOOP_PORT_IN_USE …

export function errorCode(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}
