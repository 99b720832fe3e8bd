// Which headers an operator can give to the requests to a collector.

/** They say how a request is written, and are its own: undici refuses most of them, and the others garble it. */
const OF_THE_REQUEST: ReadonlySet<string> = new Set([
  'connection',
  'content-encoding',
  'content-length',
  'content-type',
  'expect',
  'host',
  'keep-alive',
  'transfer-encoding',
  'upgrade',
]);

/** False: no request could be sent with it. Its name is no name for HTTP, its value is beyond Latin-1, or it is not for others to set. */
export function isCollectorHeader(name: string, value: string): boolean {
  if (OF_THE_REQUEST.has(name.toLowerCase())) return false;
  try {
    return new Headers([[name, value]]).has(name);
  } catch {
    return false;
  }
}
