// read-plain-messages -> here: finds where a JSON value ends, without building it.
// Guarantees: what it passes over is JSON as JSON.stringify writes it, so JSON.stringify(JSON.parse(it)) is the same text.
// It does not accept all such text: rare forms, such as an exponent, are left to the parser. Its time is linear.
// Why: data is stored as text. To build each value, and to write it again, took a quarter of collect's time in batches.

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
export const COMMA = 0x2c;
const COLON = 0x3a;
const MINUS = 0x2d;
const POINT = 0x2e;
const ZERO = 0x30;
const NINE = 0x39;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
export const OPEN_OBJECT = 0x7b;
export const CLOSE_OBJECT = 0x7d;
const FIRST_UNESCAPED = 0x20;
const SMALL_F = 0x66;
const SMALL_N = 0x6e;
const SMALL_T = 0x74;
const SMALL_E = 0x65;
const CAPITAL_E = 0x45;

/**
 * Characters of a number, its point included: two decimals of 15 digits are never the same double, so JSON.stringify
 * finds no shorter one.
 */
const MAX_NUMBER_LENGTH = 15;
/** JSON.stringify writes these as short escapes, other control characters as \u codes, and a slash as it is. */
const SHORT_ESCAPES = new Set(Array.from('"\\bfnrt', (letter) => letter.charCodeAt(0)));

/**
 * A place in a text. Each method passes over what it names, or returns false if something else stands there. After a
 * false from takeValue the place is anywhere.
 */
export class JsonScan {
  readonly #text: string;
  /** Where names begin and end, of the objects that are open. */
  readonly #names: number[] = [];
  at = 0;

  /** @param text decoded from UTF-8, so without half a surrogate pair */
  constructor(text: string) {
    this.#text = text;
  }

  get isAtEnd(): boolean {
    return this.at === this.#text.length;
  }

  take(character: number): boolean {
    if (this.#text.charCodeAt(this.at) !== character) return false;
    this.at++;
    return true;
  }

  takeText(text: string): boolean {
    if (!this.#text.startsWith(text, this.at)) return false;
    this.at += text.length;
    return true;
  }

  /** @param depth how many levels the value may have */
  takeValue(depth: number): boolean {
    const code = this.#text.charCodeAt(this.at);
    switch (code) {
      case QUOTE:
        return this.takeString();
      case OPEN_OBJECT:
        return depth > 0 && this.#takeObject(depth - 1);
      case OPEN_ARRAY:
        return depth > 0 && this.#takeArray(depth - 1);
      case SMALL_T:
        return this.takeText("true");
      case SMALL_F:
        return this.takeText("false");
      case SMALL_N:
        return this.takeText("null");
      default:
        return this.#takeNumber(code);
    }
  }

  takeString(): boolean {
    const text = this.#text;
    let i = this.at;
    if (text.charCodeAt(i++) !== QUOTE) return false;
    for (;;) {
      const code = text.charCodeAt(i++);
      if (code === QUOTE) {
        this.at = i;
        return true;
      }
      // Beyond the end of the text it is NaN.
      if (!(code >= FIRST_UNESCAPED)) return false;
      if (code === BACKSLASH && !SHORT_ESCAPES.has(text.charCodeAt(i++))) return false;
    }
  }

  #takeNumber(first: number): boolean {
    const text = this.#text;
    let i = this.at;
    let code = first;
    if (code === MINUS) code = text.charCodeAt(++i);
    const from = i;
    if (!isDigit(code)) return false;
    const isBelowOne = code === ZERO;
    do code = text.charCodeAt(++i);
    while (isDigit(code));
    if (isBelowOne && i - from > 1) return false;
    if (code === POINT) {
      const point = i;
      do code = text.charCodeAt(++i);
      while (isDigit(code));
      // "1." is no number, 1.0 is written as 1, and 0.0000001 as 1e-7.
      if (i - point === 1 || text.charCodeAt(i - 1) === ZERO) return false;
      if (isBelowOne && text.startsWith("000000", point + 1)) return false;
    } else if (isBelowOne && first === MINUS) {
      // Written as 0.
      return false;
    }
    if (i - from > MAX_NUMBER_LENGTH || code === SMALL_E || code === CAPITAL_E) return false;
    this.at = i;
    return true;
  }

  #takeArray(depth: number): boolean {
    this.at++;
    if (this.take(CLOSE_ARRAY)) return true;
    do {
      if (!this.takeValue(depth)) return false;
    } while (this.take(COMMA));
    return this.take(CLOSE_ARRAY);
  }

  #takeObject(depth: number): boolean {
    this.at++;
    if (this.take(CLOSE_OBJECT)) return true;
    const outer = this.#names.length;
    let marks = 0;
    let known: Set<string> | undefined;
    do {
      const from = this.at;
      if (!this.takeString()) return false;
      const first = this.#text.charCodeAt(from + 1);
      // What looks like an index is written before the other members.
      if (isDigit(first)) return false;
      // Of two members with one name only the last is kept. Names with different marks differ; from the first two with
      // the same one, names are compared.
      const mark = 1 << ((this.at - from) * 7 + first * 3 + this.#text.charCodeAt(this.at - 2));
      if (known === undefined && (marks & mark) !== 0) known = this.#namesFrom(outer);
      marks |= mark;
      if (known === undefined) this.#names.push(from, this.at);
      else if (known.size === known.add(this.#text.slice(from, this.at)).size) return false;
      if (!this.take(COLON) || !this.takeValue(depth)) return false;
    } while (this.take(COMMA));
    this.#names.length = outer;
    return this.take(CLOSE_OBJECT);
  }

  #namesFrom(start: number): Set<string> {
    const names = new Set<string>();
    for (let i = start; i < this.#names.length; i += 2) {
      names.add(this.#text.slice(this.#names[i], this.#names[i + 1]));
    }
    return names;
  }
}

function isDigit(code: number): boolean {
  return code >= ZERO && code <= NINE;
}
