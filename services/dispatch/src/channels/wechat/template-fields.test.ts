// Tests the vendor's rules for a template's fields, each at its border.
import { describe, expect, test } from "vitest";
import { checkField, fitField } from "./template-fields.js";

const twenty = "二十个字符二十个字符二十个字符二十个字符";

describe("accepts", () => {
  test.each([
    ["thing1", twenty],
    ["thing2", "😀".repeat(20)],
    ["thing3", "Order 7, ready!"],
    ["const4", "付款成功"],
    ["number1", "1".repeat(32)],
    ["number1", "3.14"],
    ["letter1", "a".repeat(32)],
    ["symbol1", "!?#%&"],
    ["character_string1", "A-1/b_".padEnd(32, "9")],
    ["time1", "15:01"],
    ["time1", "23:59:59"],
    ["time1", "2019年10月1日 15:01"],
    ["time1", "15:01~16:30"],
    ["date1", "2019年10月1日"],
    ["date1", "2018-01-01"],
    ["date1", "2018/01/01"],
    ["date1", "01-01"],
    ["date1", "2019年10月1日 15:01"],
    ["date1", "2019.10.01~2019.10.03"],
    ["amount1", "¥1234567890.50"],
    ["amount1", "￥100元"],
    ["amount1", "12"],
    ["phone_number1", "+86-0766-66888866"],
    ["car_number1", "粤A8Z888挂"],
    ["name1", "欧阳"],
    ["name1", "Jean-Luc Picard"],
    ["phrase1", "配送中"],
    ["keyword1", "x".repeat(200)],
    ["remark", "two\nlines"],
  ])("%s: %s", (field, value) => expect(checkField(field, value)).toBeUndefined());
});

describe("refuses, naming the field,", () => {
  test.each([
    ["thing1", `${twenty}字`],
    ["thing1", "two\nlines"],
    ["thing1", "two\u2028lines"],
    ["thing1", ""],
    ["thing1", "  "],
    ["const1", "x".repeat(21)],
    ["number1", "1".repeat(33)],
    ["number1", "12a"],
    ["number1", "１２"],
    ["letter1", "a1"],
    ["letter1", "a".repeat(33)],
    ["symbol1", "!?#%&*"],
    ["symbol1", "a!"],
    ["character_string1", "订单7"],
    ["character_string1", "x".repeat(33)],
    ["time1", "24:00"],
    ["time1", "15:60"],
    ["time1", "2019年10月1日"],
    ["time1", "15:01-16:30"],
    ["date1", "15:01"],
    ["date1", "tomorrow"],
    ["amount1", "¥12345678901"],
    ["amount1", "¥¥1"],
    ["amount1", "1,000"],
    ["phone_number1", "+86-0766-668888661"],
    ["phone_number1", "call me"],
    ["phone_number1", "-"],
    ["car_number1", "粤A8Z8888挂"],
    ["car_number1", "粤粤8"],
    ["name1", "一二三四五六七八九十一"],
    ["name1", "abcdefghijklmnopqrstu"],
    ["name1", "R2"],
    ["phrase1", "一二三四五六"],
    ["phrase1", "ok"],
    ["keyword1", "x".repeat(201)],
    ["keyword1", ""],
  ])("%s: %j", (field, value) => expect(checkField(field, value)).toContain(`data.${field} must be`));
});

test("a text is fitted to its field", () => {
  expect(fitField("thing1", "  a\nb  \u2028 c ")).toBe("a b c");
  expect(fitField("thing1", `${twenty}more`)).toBe(`${Array.from(twenty).slice(0, 19).join("")}…`);
  expect(fitField("thing1", "😀".repeat(30))).toBe(`${"😀".repeat(19)}…`);
  expect(fitField("keyword1", "a\nb")).toBe("a\nb");
  for (const text of ["x".repeat(500), `${twenty}\n${twenty}`, "😀".repeat(21)])
    expect(checkField("thing1", fitField("thing1", text))).toBeUndefined();
});
