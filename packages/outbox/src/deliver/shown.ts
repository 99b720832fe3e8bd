// A value of which nothing is known, as an error message shows it.

const LONGEST_SHOWN = 100;

/** As JSON where it is some, at most 100 characters. Never throws, whatever it is given. */
export function shown(value: unknown): string {
  let text: string;
  try {
    text = typeof value === 'bigint' ? `${value}n` : (JSON.stringify(value) ?? String(value));
  } catch {
    text = typeof value;
  }
  return text.length > LONGEST_SHOWN ? `${text.slice(0, LONGEST_SHOWN)}…` : text;
}
