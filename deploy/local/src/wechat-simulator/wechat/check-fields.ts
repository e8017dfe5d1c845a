// The WeChat simulator: whether a message's data fits its template.
// Guarantees: the table "订阅消息参数值内容限制说明" of
// https://developers.weixin.qq.com/miniprogram/dev/OpenApiDoc/mp-message-management/subscribe-message/sendMessage.html,
// implemented independently: it shares nothing with the channel that it tests.

const characters = (text: string): string[] => Array.from(text);
const isHan = (character: string): boolean => /^\p{Script=Han}$/u.test(character);
const isControl = (character: string): boolean => /^\p{Cc}$/u.test(character);
const isDigit = (character: string): boolean =>
  character >= "0" && character <= "9" && character.length === 1;
const isLatin = (character: string): boolean => /^[A-Za-z]$/.test(character);
const isSymbol = (character: string): boolean =>
  !isHan(character) && !isLatin(character) && !isDigit(character) && !isControl(character);

const everyOne =
  (max: number, ...kinds: ((character: string) => boolean)[]) =>
  (text: string): boolean =>
    characters(text).length <= max && characters(text).every((one) => kinds.some((isKind) => isKind(one)));

/** Kind -> whether it accepts the (non-empty) text. */
const takes: Readonly<Record<string, (text: string) => boolean>> = {
  thing: (text) => characters(text).length <= 20 && !characters(text).some(isControl),
  const: (text) => characters(text).length <= 20 && !characters(text).some(isControl),
  number: (text) => everyOne(32, isDigit, (one) => one === ".")(text) && !Number.isNaN(Number(text)),
  letter: everyOne(32, isLatin),
  symbol: everyOne(5, isSymbol),
  character_string: everyOne(32, isDigit, isLatin, isSymbol),
  time: (text) => halves(text).every((half) => isMoment(half, true)),
  date: (text) => halves(text).every((half) => isMoment(half, false)),
  amount: (text) => {
    const plain = text.replace(/元$/, "").replace(/^\p{Sc}/u, "");
    const [whole = "", fraction, more] = plain.split(".");
    return (
      more === undefined &&
      everyOne(10, isDigit)(whole) &&
      whole !== "" &&
      (fraction === undefined || (fraction !== "" && everyOne(20, isDigit)(fraction)))
    );
  },
  phone_number: (text) => everyOne(17, isDigit, isSymbol)(text),
  car_number: (text) => {
    const all = characters(text);
    const inner = all.slice(1, -1);
    const ends = [all[0] ?? "", all.at(-1) ?? ""];
    return (
      all.length <= 8 &&
      inner.every((one) => isDigit(one) || isLatin(one)) &&
      ends.every((one) => isHan(one) || isDigit(one) || isLatin(one))
    );
  },
  name: (text) =>
    !characters(text).some(isDigit) &&
    !characters(text).some(isControl) &&
    characters(text).length <= (characters(text).some(isHan) ? 10 : 20),
  phrase: everyOne(5, isHan),
};

function halves(text: string): string[] {
  return text.split(/[~～]/).map((half) => half.trim());
}

/**
 * @param needsTime true for `time`, a time of day with an optional day; false for `date`, a day with an optional time
 */
function isMoment(text: string, needsTime: boolean): boolean {
  const [, before = "", hour, minute, second] =
    /^(.*?)\s*(?:(\d{1,2}):(\d{2})(?::(\d{2}))?)?$/.exec(text) ?? [];
  if (hour !== undefined && (Number(hour) > 23 || Number(minute) > 59 || Number(second ?? 0) > 59))
    return false;
  if (before === "") return needsTime && hour !== undefined;
  if (needsTime && hour === undefined) return false;
  return (
    /^(\d{4}年)?\d{1,2}月(\d{1,2}日)?$/.test(before) ||
    /^\d{4}([-/.])\d{1,2}(\1\d{1,2})?$/.test(before) ||
    /^\d{1,2}[-/.]\d{1,2}$/.test(before)
  );
}

/**
 * @param fields of the template
 * @returns WeChat's message about the first field that does not fit
 */
export function findWrongField(fields: readonly string[], data: unknown): string | undefined {
  if (typeof data !== "object" || data === null || Array.isArray(data))
    return "argument invalid! data is empty";
  const given = data as Readonly<Record<string, unknown>>;
  for (const field of fields) {
    const entry = given[field];
    const value =
      typeof entry === "object" && entry !== null ? (entry as { readonly value?: unknown }).value : undefined;
    const text = typeof value === "number" ? String(value) : value;
    if (typeof text !== "string" || text === "") return `argument invalid! data.${field}.value is empty`;
    const isTaken = takes[field.replace(/\d+$/, "")];
    if (isTaken !== undefined && !isTaken(text)) return `argument invalid! data.${field}.value invalid`;
  }
  const extra = Object.keys(given).find((name) => !fields.includes(name));
  return extra === undefined ? undefined : `argument invalid! data.${extra} is not in the template`;
}
