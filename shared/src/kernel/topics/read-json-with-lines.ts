// read-topics-file -> here: parses a JSON text and remembers the line of each part.
// Guarantees: accepts what JSON.parse accepts, except for a member that occurs twice; every error names its line.
import { findNodeAtLocation, parseTree, printParseErrorCode, type Node, type ParseError } from "jsonc-parser";

/** An error in a JSON text, with its line, counted from 1. */
export class JsonLineError extends Error {
  override readonly name = "JsonLineError";

  constructor(
    readonly line: number,
    readonly reason: string,
  ) {
    super(`line ${line}: ${reason}`);
  }
}

export interface JsonWithLines {
  readonly value: unknown;
  /** @param path the names and indexes that lead to a part; none for the whole text */
  readonly lineOf: (...path: readonly (string | number)[]) => number;
}

/** By the parser's error names. */
const reasons: Readonly<Record<string, string>> = {
  InvalidSymbol: "this is not a JSON value",
  InvalidNumberFormat: "this is not a number",
  PropertyNameExpected: "a name in quotes is missing here",
  ValueExpected: "a value is missing here",
  ColonExpected: 'a ":" is missing here',
  CommaExpected: 'a "," is missing here',
  CloseBraceExpected: 'a "}" is missing here',
  CloseBracketExpected: 'a "]" is missing here',
  EndOfFileExpected: "there is more after the value",
  InvalidCommentToken: "JSON has no comments",
  UnexpectedEndOfString: "a string does not end",
  InvalidEscapeCharacter: "a string has a wrong escape",
  InvalidUnicode: "a string has a wrong escape",
  InvalidCharacter: "a string contains a character that must be escaped",
};

/** @throws JsonLineError */
export function readJsonWithLines(source: string): JsonWithLines {
  const lineAt = (offset: number): number => source.slice(0, offset).split("\n").length;
  const errors: ParseError[] = [];
  const tree = parseTree(source, errors, { disallowComments: true });
  let value: unknown;
  try {
    value = JSON.parse(source);
  } catch {
    const [first] = errors;
    const name = first === undefined ? "InvalidSymbol" : printParseErrorCode(first.error);
    throw new JsonLineError(lineAt(first?.offset ?? source.length), reasons[name] ?? name);
  }
  const repeated = tree === undefined ? undefined : findRepeated(tree);
  if (repeated !== undefined) {
    throw new JsonLineError(lineAt(repeated.offset), `${JSON.stringify(repeated.value)} occurs twice`);
  }
  return {
    value,
    lineOf: (...path) => {
      const found = tree === undefined ? undefined : findNodeAtLocation(tree, [...path]);
      return lineAt(found?.offset ?? source.search(/\S/));
    },
  };
}

/** @returns the second occurrence of a member's name in one object */
function findRepeated({ type, children = [] }: Node): Node | undefined {
  const names = new Set<unknown>();
  for (const child of children) {
    const [name] = child.children ?? [];
    if (type === "object" && name !== undefined) {
      if (names.has(name.value)) return name;
      names.add(name.value);
    }
    const inside = findRepeated(child);
    if (inside !== undefined) return inside;
  }
  return undefined;
}
