// collect/contract/check-message, dispatch/routes/webhook-routes -> here: parses RFC 3339.
// Guarantees: accepts only days that exist; fractions finer than a millisecond round up, so the result is never earlier
// than what was written.

const expression =
  /^(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d{1,12}))?(?:[Zz]|([+-])(\d\d):(\d\d))$/;

/** @returns ms since 1970; undefined if the text is no such time */
export function parseTime(text: string): number | undefined {
  const found = expression.exec(text);
  if (found === null) return undefined;
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = found.slice(1, 7).map(Number);
  const [, , , , , , , fraction = "", sign = "+", offsetHours = "0", offsetMinutes = "0"] = found;
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  const isDay = date.getUTCMonth() === month - 1 && date.getUTCDate() === day;
  // A leap second is the beginning of the next one.
  if (!isDay || month < 1 || hour > 23 || minute > 59 || second > 60) return undefined;
  if (Number(offsetHours) > 23 || Number(offsetMinutes) > 59) return undefined;
  const offsetMs = (Number(offsetHours) * 60 + Number(offsetMinutes)) * 60_000 * (sign === "-" ? -1 : 1);
  const fractionMs = Math.ceil(Number(`0.${fraction}0`) * 1_000);
  return date.getTime() + ((hour * 60 + minute) * 60 + second) * 1_000 + fractionMs - offsetMs;
}
