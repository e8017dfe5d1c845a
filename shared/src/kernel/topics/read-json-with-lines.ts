// read-topics-file -> here: a JSON text as a value, and on which line each part of it stands.
// Guarantees: takes what JSON.parse takes, except that a member that stands twice is refused, and so is deep nesting;
// every error names its line.

/** One error of a JSON text, with the line that it is on, from 1. */
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
  /** @param path the names and indexes that lead to a part: none for the whole text */
  readonly lineOf: (...path: readonly (string | number)[]) => number;
}

const MAX_DEPTH = 32;
const blank = /[ \t\n\r]*/y;
/** What is wrong inside, JSON.parse finds. */
const text = /"(?:[^"\\\n]|\\.)*"/y;
const word = /true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;

/** @throws JsonLineError */
export function readJsonWithLines(source: string): JsonWithLines {
  const reader = new Reader(source);
  const value = reader.readAll();
  return {
    value,
    lineOf: (...path) => reader.lines.get(JSON.stringify(path)) ?? 1,
  };
}

class Reader {
  /** By the path as JSON text. */
  readonly lines = new Map<string, number>();
  readonly #source: string;
  #at = 0;
  /** The line at `#counted`, which only goes forward. */
  #line = 1;
  #counted = 0;

  constructor(source: string) {
    this.#source = source;
  }

  readAll(): unknown {
    const value = this.#readValue([]);
    this.#take(blank);
    if (this.#at < this.#source.length) throw this.#error("there is more behind the value");
    return value;
  }

  #readValue(path: readonly (string | number)[]): unknown {
    if (path.length > MAX_DEPTH) throw this.#error("nested too deeply");
    this.#take(blank);
    this.lines.set(JSON.stringify(path), this.#lineNow());
    switch (this.#source[this.#at]) {
      case "{":
        return this.#readObject(path);
      case "[":
        return this.#readArray(path);
      case '"':
        return this.#readText();
      default: {
        const found = this.#take(word);
        if (found === undefined) throw this.#unexpected("a value");
        return JSON.parse(found) as unknown;
      }
    }
  }

  #readObject(path: readonly (string | number)[]): Readonly<Record<string, unknown>> {
    const members = new Map<string, unknown>();
    this.#at++;
    if (this.#isNext("}")) return {};
    do {
      this.#take(blank);
      if (this.#source[this.#at] !== '"') throw this.#unexpected("a name in quotes");
      const name = this.#readText();
      if (members.has(name)) throw this.#error(`${JSON.stringify(name)} stands twice`);
      if (!this.#isNext(":")) throw this.#unexpected('":"');
      members.set(name, this.#readValue([...path, name]));
    } while (this.#isNext(","));
    if (!this.#isNext("}")) throw this.#unexpected('"," or "}"');
    // Not by assignment: `__proto__` is a name like any other.
    return Object.fromEntries(members);
  }

  #readArray(path: readonly (string | number)[]): unknown[] {
    const items: unknown[] = [];
    this.#at++;
    if (this.#isNext("]")) return items;
    do items.push(this.#readValue([...path, items.length]));
    while (this.#isNext(","));
    if (!this.#isNext("]")) throw this.#unexpected('"," or "]"');
    return items;
  }

  #readText(): string {
    const wrong = this.#error("a text that does not end, or holds what must be escaped");
    const found = this.#take(text);
    if (found === undefined) throw wrong;
    try {
      return JSON.parse(found) as string;
    } catch {
      throw wrong;
    }
  }

  /** Takes this sign, and the blanks before it, if it comes next. */
  #isNext(sign: string): boolean {
    this.#take(blank);
    if (this.#source[this.#at] !== sign) return false;
    this.#at++;
    return true;
  }

  #take(form: RegExp): string | undefined {
    form.lastIndex = this.#at;
    const found = form.exec(this.#source)?.[0];
    this.#at += found?.length ?? 0;
    return found;
  }

  #unexpected(wanted: string): JsonLineError {
    const next = this.#source[this.#at];
    return this.#error(
      `${wanted} is missing before ${next === undefined ? "the end" : JSON.stringify(next)}`,
    );
  }

  #error(reason: string): JsonLineError {
    return new JsonLineError(this.#lineNow(), reason);
  }

  #lineNow(): number {
    for (; this.#counted < this.#at; this.#counted++) if (this.#source[this.#counted] === "\n") this.#line++;
    return this.#line;
  }
}
