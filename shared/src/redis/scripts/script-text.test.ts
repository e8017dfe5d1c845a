// Tests the rules for every script's text.
// Guarantees: it stands in its room, names keys only as KEYS, uses Redis' clock, and says what it takes and answers; one
// of a partition's owner refuses a stale one before it writes.
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { ownerScripts, readScripts, scriptsByRoom } from "./script-catalogue.js";

const redis = new URL("../", import.meta.url);

describe("every script's text", () => {
  const sources = [...readScripts().values()];

  test("is in the catalogue, in its room, and the catalogue names no other", () => {
    const files = readdirSync(redis, { recursive: true, encoding: "utf8" }).filter(
      (file) => file.endsWith(".lua") && !file.startsWith("scripts/includes/"),
    );
    const listed = Object.entries(scriptsByRoom).flatMap(([room, names]) =>
      names.map((name) => `${room}/${name}.lua`),
    );
    expect(files.sort()).toEqual(listed.sort());
  });

  test.each(sources)("$name has its includes inserted", ({ source }) => {
    expect(source).not.toContain("@include");
  });

  test.each(sources)("$name names keys only as KEYS, never builds one", ({ source }) => {
    const code = source.replace(/--.*$/gm, "");
    const firstArguments = [
      ...code.matchAll(/redis\.p?call\(\s*'([A-Z]+)'\s*(?:,\s*'[A-Z]+'\s*)?(?:,\s*([^,)]+))?/g),
    ];
    const aliases = new Set(
      [...code.matchAll(/^ *(?:local )?([\w, ]+?) = ((?:KEYS\[[^\]]+\](?:, )?)+)/gm)].flatMap(
        ([, names = ""]) => names.split(", "),
      ),
    );
    for (const [, command = "", first] of firstArguments) {
      if (["TIME", "INFO", "SPUBLISH", "PUBSUB"].includes(command)) continue;
      const key = first ?? "";
      const isParameter = new RegExp(`local function \\w+\\([^)]*\\b${key}\\b[^)]*\\)`).test(code);
      // A key out of a table of keys; or a key that a list's entry keeps.
      const [, table = ""] = /^(\w+)\[\w+\]$/.exec(key) ?? [];
      const isOfTable =
        table !== "" && new RegExp(`local ${table} = { (\\w = KEYS\\[\\d\\](, )?)+ }`).test(code);
      const [, field = ""] = /^u\.(\w+)$/.exec(key) ?? [];
      const isKept = aliases.has(field) && code.includes(`${field} = ${field},`);
      // The exceptions that includes/namesake and keep-records name: made from a declared key, and of its
      // slot.
      const isOfNamesake = command === "UNLINK" && key === "attemptsOfNamesake";
      const isOfEntry = key === "recordOfEntry";
      expect(
        key.startsWith("KEYS[") ||
          aliases.has(key) ||
          isParameter ||
          isOfTable ||
          isKept ||
          isOfNamesake ||
          isOfEntry,
        `${command} ${key}`,
      ).toBe(true);
    }
    expect(firstArguments.length).toBeGreaterThan(0);
  });

  test.each(sources)("$name uses Redis' clock, never one that a caller brings", ({ name, source }) => {
    expect(source).not.toMatch(/os\.time|os\.clock/);
    const head = source.slice(0, source.search(/^[^-\s]/m));
    expect(head, name).not.toMatch(/ARGV\[\d+\] +now/i);
  });

  test.each(sources)("$name documents its keys, arguments and result", ({ name, source }) => {
    expect(source.startsWith(`-- ${name.replace(/\.v\d+$/, "")}: `) || source.startsWith("#!lua")).toBe(true);
    expect(source).toMatch(/^-- KEYS\[/m);
    expect(source).toMatch(/^-- Result: /m);
  });

  test.each(ownerScripts)("%s takes the owner and a token, and refuses before its first write", (name) => {
    const [room] = Object.entries(scriptsByRoom).find(([, names]) => names.some((one) => one === name)) ?? [];
    const source = readFileSync(new URL(`${room}/${name}.lua`, redis), "utf8");
    const code = source.replace(/--(?!@).*$/gm, "");
    expect(source).toMatch(/^-- KEYS\[1\] owner/m);
    expect(source).toMatch(/^-- ARGV\[1\] token/m);
    const refusal = code.indexOf("if isStale(KEYS[1], ARGV[1], now)");
    expect(refusal).toBeGreaterThan(-1);
    // Neither itself, nor by a function that it includes.
    expect(code.slice(0, refusal)).not.toMatch(/redis\.call\(|^local [\w, ]+ = \w+\(/m);
  });
});
