// Lists of OpenTelemetry's environment variables: `name=value,name=value`, values percent-encoded where they must be.

export type Pairs =
  | { readonly fault: false; readonly pairs: Readonly<Record<string, string>> }
  /** Which of the list, from 1: it may be a secret, and is not shown. */
  | { readonly fault: true; readonly entry: number };

/** Names are those of HTTP headers and of attributes: no spaces, no control characters. */
const NAME = /^[!-+\--<>-~]+$/;

/** @param isFit what else a pair must be */
export function parsePairs(
  text: string,
  isFit: (name: string, value: string) => boolean = () => true,
): Pairs {
  const pairs: Record<string, string> = {};
  for (const [index, entry] of text.split(',').entries()) {
    if (entry.trim() === '') continue;
    const at = entry.indexOf('=');
    const name = entry.slice(0, Math.max(0, at)).trim();
    const value = decoded(entry.slice(at + 1).trim());
    if (!NAME.test(name) || value === undefined || !isFit(name, value))
      return { fault: true, entry: index + 1 };
    pairs[name] = value;
  }
  return { fault: false, pairs };
}

function decoded(value: string): string | undefined {
  try {
    const text = decodeURIComponent(value);
    // oxlint-disable-next-line no-control-regex -- what would end a header, and begin another
    return /[\0-\x1F\x7F]/.test(text) ? undefined : text;
  } catch {
    return undefined;
  }
}
