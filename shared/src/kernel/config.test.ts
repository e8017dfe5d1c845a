// Tests how a service reads its environment.
// Guarantees: every error is named, all at once; a valid configuration is frozen.
import { expect, test } from "vitest";
import { commonSettings, portSetting, redisSettings } from "./common-settings.js";
import {
  choice,
  ConfigError,
  documentConfig,
  flag,
  integer,
  list,
  optionalInteger,
  optionalText,
  readConfig,
  share,
  text,
  url,
  type Schema,
} from "./config.js";

const schema = {
  count: integer("COUNT", "how many", { default: 3, min: 1, max: 10 }),
  name: text("NAME", "what it is called"),
  note: optionalText("NOTE", "more about it"),
  extra: optionalInteger("EXTRA", "more of it", { max: 9 }),
  address: url("ADDRESS", "where it is", { protocols: ["redis", "rediss"], default: "redis://h" }),
  mode: choice("MODE", "how it works", { of: ["fast", "safe"], default: "safe" }),
  loud: flag("LOUD", "whether it is heard", { default: false }),
  words: list("WORDS", "what it says", { default: [] }),
} as const satisfies Schema;

test("uses defaults for unset and empty variables", () => {
  expect(readConfig(schema, { NAME: "n", COUNT: "", NOTE: "", WORDS: "" })).toEqual({
    count: 3,
    name: "n",
    note: undefined,
    extra: undefined,
    address: "redis://h",
    mode: "safe",
    loud: false,
    words: [],
  });
});

test("parses values by their kind", () => {
  const environment = {
    COUNT: "10",
    NAME: "n",
    NOTE: "x",
    EXTRA: "9",
    ADDRESS: "rediss://u:p@h:1/2",
    MODE: "fast",
    LOUD: "true",
    WORDS: " a, b ,,c ",
  };
  expect(readConfig(schema, environment)).toEqual({
    count: 10,
    name: "n",
    note: "x",
    extra: 9,
    address: "rediss://u:p@h:1/2",
    mode: "fast",
    loud: true,
    words: ["a", "b", "c"],
  });
});

test("ignores one trailing line break: a Secret made from a file has it", () => {
  const environment = { NAME: "n\n", COUNT: "4\r\n", NOTE: "\n", MODE: "fast\n", WORDS: "a,b\n" };
  expect(readConfig(schema, environment)).toMatchObject({
    name: "n",
    count: 4,
    note: undefined,
    mode: "fast",
    words: ["a", "b"],
  });
  expect(readConfig(schema, { NAME: "n\n\n" }).name).toBe("n\n");
  expect(() => readConfig(schema, { NAME: "n", COUNT: "4 " })).toThrow("COUNT must be");
});

test("the result is frozen", () => {
  expect(Object.isFrozen(readConfig(schema, { NAME: "n" }))).toBe(true);
});

test.each([
  ["COUNT", "0"],
  ["COUNT", "11"],
  ["COUNT", "1.5"],
  ["COUNT", "1e1"],
  ["COUNT", " 1"],
  ["COUNT", "0x1"],
  ["EXTRA", "10"],
  ["EXTRA", "x"],
  ["ADDRESS", "http://h"],
  ["ADDRESS", "h:1"],
  ["MODE", "FAST"],
  ["LOUD", "yes"],
  ["LOUD", "1"],
])("refuses %s=%j by name", (variable, value) => {
  expect(() => readConfig(schema, { NAME: "n", [variable]: value })).toThrow(ConfigError);
  expect(() => readConfig(schema, { NAME: "n", [variable]: value })).toThrow(
    new RegExp(`^${variable} must be `),
  );
});

test("does not repeat a refused URL: it may hold a password", () => {
  expect(() => readConfig(schema, { NAME: "n", ADDRESS: "http://u:secret@h" })).toThrow(
    "ADDRESS must be a URL with redis:// or rediss://",
  );
});

test("reports all faults at once", () => {
  expect(() => readConfig(schema, { COUNT: "x", MODE: "x" })).toThrow(/COUNT.*NAME is required.*MODE/s);
});

test("the schema documents itself", () => {
  expect(documentConfig(schema)).toEqual([
    "| `COUNT` | `3` | how many |",
    "| `NAME` | (required) | what it is called |",
    "| `NOTE` | (none) | more about it |",
    "| `EXTRA` | (none) | more of it |",
    '| `ADDRESS` | `"redis://h"` | where it is |',
    '| `MODE` | `"safe"` | how it works |',
    "| `LOUD` | `false` | whether it is heard |",
    "| `WORDS` | (none) | what it says |",
  ]);
});

test("common settings have defaults, so that nothing is required", () => {
  const config = readConfig({ ...commonSettings, ...redisSettings, port: portSetting(7100) }, {});
  expect(config).toMatchObject({
    port: 7100,
    partitions: 4,
    redisUrl: "redis://127.0.0.1:6379",
    logLevel: "info",
  });
  expect(() => readConfig({ port: portSetting(1) }, { PORT: "65536" })).toThrow(ConfigError);
});

test("a ratio is a number from 0 to 1", () => {
  const sampled = { sample: share("SAMPLE", "how many", { default: 0 }) };
  const read = (SAMPLE: string): number => readConfig(sampled, { SAMPLE }).sample;
  expect(["", "0", "1", "0.01", ".5", "1.0"].map(read)).toEqual([0, 0, 1, 0.01, 0.5, 1]);
  for (const wrong of ["1.5", "-0.1", "5%", "1e-3", "x", "NaN", "2"])
    expect(() => read(wrong)).toThrow(ConfigError);
});
