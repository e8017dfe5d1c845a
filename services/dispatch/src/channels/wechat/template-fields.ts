// build-wechat-message -> here: what WeChat accepts in each field of a template.
// Guarantees: the vendor's table, each kind with its own rule; a field of an unlisted kind only has a length limit. A
// text that `fitField` has cut never breaks the field's rule.
// The rules are those of "订阅消息参数值内容限制说明" in
// https://developers.weixin.qq.com/miniprogram/dev/OpenApiDoc/mp-message-management/subscribe-message/sendMessage.html
// (seen there: thing 20 characters, number 32 digits, letter 32, symbol 5, character_string 32, time and date with
// ranges by "~", amount one currency sign and 10 digits, phone_number 17, car_number 8, name 10 Chinese or 20 Latin,
// phrase 5 Chinese). Template messages of service accounts have the same kinds, and `const` of 20:
// https://developers.weixin.qq.com/doc/service/api/notify/template/api_sendtemplatemessage.html

interface FieldRule {
  readonly isGood: (value: string) => boolean;
  /** Completes "must be …". */
  readonly what: string;
}

const DATE = String.raw`(?:\d{4}年\d{1,2}月(?:\d{1,2}日)?|\d{1,2}月\d{1,2}日|\d{4}[-/.]\d{1,2}(?:[-/.]\d{1,2})?|\d{1,2}[-/.]\d{1,2})`;
const TIME = String.raw`(?:[01]?\d|2[0-3]):[0-5]\d(?::[0-5]\d)?`;
const timeOfDay = String.raw`(?:${DATE}\s?)?${TIME}`;
const day = String.raw`${DATE}(?:\s?${TIME})?`;

const range = (one: string): RegExp => new RegExp(`^${one}(?:\\s?[~～]\\s?${one})?$`, "u");
const matches =
  (pattern: RegExp) =>
  (value: string): boolean =>
    pattern.test(value);
/** Counted as people do: an emoji is one. */
const lengthOf = (value: string): number => Array.from(value).length;
const hasControl = (value: string): boolean => /[\p{Cc}\p{Zl}\p{Zp}]/u.test(value);
const upTo =
  (max: number) =>
  (value: string): boolean =>
    value.trim() !== "" && lengthOf(value) <= max && !hasControl(value);

const THING_CHARACTERS = 20;
/** For a field whose kind is unknown; longer than any kind that we know. */
const OTHER_CHARACTERS = 200;

const rules: Readonly<Record<string, FieldRule>> = {
  thing: { isGood: upTo(THING_CHARACTERS), what: "1 to 20 characters without a line break" },
  const: { isGood: upTo(THING_CHARACTERS), what: "1 to 20 characters without a line break" },
  number: {
    isGood: (value) => lengthOf(value) <= 32 && /^\d+(?:\.\d+)?$/.test(value),
    what: "up to 32 digits, a decimal point among them",
  },
  letter: { isGood: matches(/^[A-Za-z]{1,32}$/), what: "1 to 32 Latin letters" },
  symbol: {
    isGood: matches(/^[\p{P}\p{S}]{1,5}$/u),
    what: "1 to 5 symbols, without letters, digits and spaces",
  },
  character_string: {
    isGood: matches(/^[^\p{Script=Han}\p{C}\p{Zl}\p{Zp}]{1,32}$/u),
    what: "1 to 32 digits, letters or symbols, none of them Chinese",
  },
  time: {
    isGood: matches(range(timeOfDay)),
    what: "a time such as 15:01 or 2019年10月1日 15:01, or two with ~",
  },
  date: {
    isGood: matches(range(day)),
    what: "a date such as 2019年10月1日 or 2019-10-01 15:01, or two with ~",
  },
  amount: {
    isGood: matches(/^\p{Sc}?\d{1,10}(?:\.\d+)?元?$/u),
    what: "a currency sign and up to 10 digits, with decimals or 元 if you like",
  },
  phone_number: {
    isGood: matches(/^(?=.*\d)[^\p{L}\p{C}\p{Zl}\p{Zp}]{1,17}$/u),
    what: "up to 17 digits and symbols",
  },
  car_number: {
    isGood: matches(/^[\p{Script=Han}A-Za-z0-9](?:[A-Za-z0-9]{0,6}[\p{Script=Han}A-Za-z0-9])?$/u),
    what: "up to 8 letters and digits, Chinese only the first and the last",
  },
  name: {
    isGood: (value) =>
      !/[\p{N}\p{C}\p{Zl}\p{Zp}]/u.test(value) &&
      value.trim() !== "" &&
      lengthOf(value) <= (/\p{Script=Han}/u.test(value) ? 10 : 20),
    what: "up to 10 Chinese characters, or 20 letters or symbols, without digits",
  },
  phrase: { isGood: matches(/^\p{Script=Han}{1,5}$/u), what: "1 to 5 Chinese characters" },
  enum: { isGood: upTo(THING_CHARACTERS), what: "one of the template's values" },
};

const otherRule: FieldRule = {
  isGood: (value) => value.trim() !== "" && lengthOf(value) <= OTHER_CHARACTERS,
  what: `1 to ${OTHER_CHARACTERS} characters`,
};

/** Such as thing1, or keyword2 of an old template. */
export const FIELD_NAME_PATTERN = /^[a-z][a-z_]{0,30}\d{0,3}$/i;

function ruleOf(field: string): FieldRule {
  const kind = field.replace(/\d+$/, "");
  return (Object.hasOwn(rules, kind) ? rules[kind] : undefined) ?? otherRule;
}

/** @returns undefined if WeChat accepts it; otherwise what is wrong, naming the field */
export function checkField(field: string, value: string): string | undefined {
  const { isGood, what } = ruleOf(field);
  return isGood(value) ? undefined : `data.${field} must be ${what}`;
}

/** Fits a text that was not written for this field: one line, and no longer than allowed. */
export function fitField(field: string, value: string): string {
  if (ruleOf(field) === otherRule) return Array.from(value).slice(0, OTHER_CHARACTERS).join("");
  const line = value.replace(/[\p{Cc}\p{Zl}\p{Zp}\s]+/gu, " ").trim();
  const isThing = ["thing", "const"].includes(field.replace(/\d+$/, ""));
  const characters = Array.from(line);
  if (!isThing || characters.length <= THING_CHARACTERS) return line;
  return `${characters.slice(0, THING_CHARACTERS - 1).join("")}…`;
}
