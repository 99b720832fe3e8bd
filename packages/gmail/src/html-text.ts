// What a person would read of HTML, found in one pass: whoever sends a mail also chooses what this has to read. With regular
// expressions a megabyte of `<script>` that no `</script>` follows kept a worker busy for minutes.

/** What stands between their tags is not for people. */
const UNREAD: ReadonlySet<string> = new Set(['script', 'style', 'head', 'title']);
const NAME = /[a-z]*/iy;

/** Without tags and comments, with single spaces. Entities stay as they are. */
export function textOfHtml(html: string): string {
  // Searched once for each name: what is not found once is not there further on either.
  const ends = new Map<string, RegExp | undefined>();
  const pieces: string[] = [];
  let at = 0;
  for (;;) {
    const start = html.indexOf('<', at);
    pieces.push(html.slice(at, start === -1 ? undefined : start));
    if (start === -1) break;
    const end = endOfTag(html, start, ends);
    if (end === undefined) {
      pieces.push(html.slice(start));
      break;
    }
    if (end === start + 1) pieces.push('<');
    at = end;
  }
  return pieces.join(' ').replace(/\s+/g, ' ').trim();
}

/** Where what `<` opens is over: right after it, where somebody wrote 5 < 6. Undefined: nowhere. */
function endOfTag(html: string, start: number, ends: Map<string, RegExp | undefined>): number | undefined {
  if (!/[a-z/!?]/i.test(html.charAt(start + 1))) return start + 1;
  if (html.startsWith('<!--', start)) return after(html, '-->', start + 4);
  NAME.lastIndex = start + 1;
  const name = NAME.exec(html)?.[0].toLowerCase() ?? '';
  const tagEnd = after(html, '>', start);
  if (tagEnd === undefined || !UNREAD.has(name)) return tagEnd;
  if (!ends.has(name)) ends.set(name, new RegExp(`</${name}\\s*>`, 'gi'));
  const closing = ends.get(name);
  if (closing === undefined) return tagEnd;
  closing.lastIndex = tagEnd;
  if (closing.exec(html) !== null) return closing.lastIndex;
  ends.set(name, undefined);
  return tagEnd;
}

function after(html: string, mark: string, from: number): number | undefined {
  const found = html.indexOf(mark, from);
  return found === -1 ? undefined : found + mark.length;
}
