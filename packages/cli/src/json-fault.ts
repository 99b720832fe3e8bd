// Where a text stops being JSON. JSON.parse does not always say, and never what it would have taken instead.

export interface JsonFault {
  /** From 0, in UTF-16 units. */
  readonly offset: number;
  /** From 1. */
  readonly line: number;
  readonly column: number;
  /** Completes the sentence "expected …". */
  readonly expected: string;
  /** What stands there: a character in quotes, or "the end". */
  readonly got: string;
}

type Awaited =
  | 'a value'
  | 'a value or "]"'
  | 'a name in double quotes'
  | 'a name in double quotes, or "}"'
  | '":"'
  | '"," or "}"'
  | '"," or "]"'
  | 'nothing more';

const BLANKS = /[ \t\r\n]*/y;
const SCALAR = /(?:true|false|null)(?![A-Za-z0-9_])|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
// oxlint-disable-next-line no-control-regex -- JSON forbids them inside texts
const PLAIN_CHARACTERS = /(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*/y;

/** The first fault, or undefined when the text is JSON. Agrees with JSON.parse on which texts are. */
export function jsonFault(text: string): JsonFault | undefined {
  const open: ('{' | '[')[] = [];
  let awaited: Awaited = 'a value';
  let at = 0;

  const afterValue = (): Awaited =>
    open.length === 0 ? 'nothing more' : open.at(-1) === '{' ? '"," or "}"' : '"," or "]"';

  for (;;) {
    at = matchEnd(BLANKS, text, at) ?? at;
    const character = text[at];
    if (awaited === 'nothing more') return character === undefined ? undefined : faultAt(text, at, awaited);
    if (character === undefined) return faultAt(text, at, awaited);
    if (awaited === '":"') {
      if (character !== ':') return faultAt(text, at, awaited);
      awaited = 'a value';
      at += 1;
    } else if (character === ',' && (awaited === '"," or "}"' || awaited === '"," or "]"')) {
      awaited = awaited === '"," or "}"' ? 'a name in double quotes' : 'a value';
      at += 1;
    } else if (closes(character, awaited)) {
      open.pop();
      awaited = afterValue();
      at += 1;
    } else if (character === '"' && /name|value/.test(awaited)) {
      const end = matchEnd(PLAIN_CHARACTERS, text, at + 1) ?? at + 1;
      if (text[end] !== '"')
        return faultAt(
          text,
          end,
          text[end] === '\\' ? 'an escape such as \\n or \\u00e9' : 'the double quote that ends the text',
        );
      awaited = awaited.startsWith('a name') ? '":"' : afterValue();
      at = end + 1;
    } else if (awaited.startsWith('a value') && (character === '{' || character === '[')) {
      open.push(character);
      awaited = character === '{' ? 'a name in double quotes, or "}"' : 'a value or "]"';
      at += 1;
    } else {
      const end = awaited.startsWith('a value') ? matchEnd(SCALAR, text, at) : undefined;
      if (end === undefined) return faultAt(text, at, awaited);
      awaited = afterValue();
      at = end;
    }
  }
}

function closes(character: string, awaited: Awaited): boolean {
  return (character === '}' && awaited.includes('"}"')) || (character === ']' && awaited.includes('"]"'));
}

/** Where the match that begins exactly at `from` ends; undefined: none. */
function matchEnd(pattern: RegExp, text: string, from: number): number | undefined {
  pattern.lastIndex = from;
  return pattern.test(text) ? pattern.lastIndex : undefined;
}

function faultAt(text: string, offset: number, expected: string): JsonFault {
  const before = text.slice(0, offset).split('\n');
  const character = text.codePointAt(offset);
  return {
    offset,
    line: before.length,
    column: (before.at(-1)?.length ?? 0) + 1,
    expected,
    got: character === undefined ? 'the end' : JSON.stringify(String.fromCodePoint(character)),
  };
}
