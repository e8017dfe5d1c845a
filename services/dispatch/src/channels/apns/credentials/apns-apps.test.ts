// Tests which credential is for which app, and which settings are refused.
import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ConfigError } from "@petrel/shared/kernel/config";
import { testCertificate, testCertificateKey } from "@petrel/shared/testing/tls/tls-certificate";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readDispatchConfig } from "../../../config.js";
import { findApnsApp, readApnsApps } from "./apns-apps.js";

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "petrel-apns-"));
  write("key.p8", keyOn("prime256v1"));
  write("second.p8", keyOn("prime256v1"));
  write("p384.p8", keyOn("secp384r1"));
  write("words.txt", "hello");
  write("cert.pem", testCertificate);
  write("cert-key.pem", testCertificateKey);
});
afterAll(() => rmSync(directory, { recursive: true }));

function keyOn(namedCurve: string): string {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve });
  return privateKey.export({ type: "pkcs8", format: "pem" }) as string;
}
const at = (name: string) => join(directory, name);
function write(name: string, content: string): string {
  writeFileSync(at(name), content);
  return at(name);
}
const read = (environment: Record<string, string>) => readApnsApps(readDispatchConfig(environment));
const readFile = (value: unknown) =>
  read({ APNS_APPS_FILE: write("apps.json", typeof value === "string" ? value : JSON.stringify(value)) });
const key = (keyId = "ABCDE12345", file = "key.p8") => ({ file, keyId, teamId: "TEAM123456" });

test("without configuration there are no apps", () => {
  expect(read({})).toEqual([]);
});

test("one key serves every app, in both environments", () => {
  const apps = read({ APNS_KEY_FILE: at("key.p8"), APNS_KEY_ID: "ABCDE12345", APNS_TEAM_ID: "TEAM123456" });
  expect(findApnsApp(apps, "com.example.any", "sandbox")?.credential).toMatchObject({
    kind: "key",
    name: "key TEAM123456.ABCDE12345",
  });
});

test("a file with several apps: files beside it, the topics of each with their suffixes", () => {
  const apps = readFile([
    { topics: ["com.example.a", "com.example.b"], environments: ["production"], key: key() },
    { topics: ["com.example.c"], certificate: { file: "cert.pem", keyFile: "cert-key.pem" } },
  ]);
  const find = (topic: string, environment: "production" | "sandbox" = "production") =>
    findApnsApp(apps, topic, environment)?.credential.kind;
  expect(find("com.example.a")).toBe("key");
  expect(find("com.example.b.voip")).toBe("key");
  expect(find("com.example.a", "sandbox")).toBeUndefined();
  expect(find("com.example.c", "sandbox")).toBe("certificate");
  expect(find("com.example.d")).toBeUndefined();
});

test.each<[string, Record<string, string>, string]>([
  ["a key file alone", { APNS_KEY_FILE: "/k" }, "without APNS_KEY_ID and APNS_TEAM_ID"],
  ["ids alone", { APNS_KEY_ID: "a", APNS_TEAM_ID: "b" }, "without APNS_KEY_FILE"],
  ["both ways", { APNS_KEY_ID: "a", APNS_APPS_FILE: "/x" }, "leave out APNS_KEY_FILE"],
  [
    "no such file",
    { APNS_KEY_FILE: "/nowhere", APNS_KEY_ID: "a", APNS_TEAM_ID: "b" },
    "APNS_KEY_FILE cannot be read",
  ],
  ["no such apps file", { APNS_APPS_FILE: "/nowhere" }, "APNS_APPS_FILE cannot be read"],
  [
    "an id with a slash",
    { APNS_KEY_FILE: "/k", APNS_KEY_ID: "a/b", APNS_TEAM_ID: "b" },
    "the keyId must consist of letters",
  ],
])("refuses %s", (_name, environment, problem) => {
  const attempt = (): unknown => read(environment);
  expect(attempt).toThrow(ConfigError);
  expect(attempt).toThrow(problem);
});

test.each(["p384.p8", "words.txt", "cert.pem"])("%s is not an Apple key, and is not repeated", (file) => {
  const attempt = (): unknown => read({ APNS_KEY_FILE: at(file), APNS_KEY_ID: "a", APNS_TEAM_ID: "b" });
  expect(attempt).toThrow("P-256");
  expect(attempt).not.toThrow("hello");
});

test.each<[string, unknown, string]>([
  ["invalid JSON", "{", "must be JSON"],
  ["not a list", {}, "must be a non-empty list"],
  ["an empty list", [], "must be a non-empty list"],
  ["a string", ["x"], "APNS_APPS_FILE[0] must be an object"],
  ["an unknown member", [{ topics: ["a"], key: key(), colour: 1 }], 'has "colour"'],
  ["no topics", [{ key: key() }], "[0].topics must be"],
  ["a topic with a space", [{ topics: ["a b"], key: key() }], "[0].topics must be"],
  [
    "an unknown environment",
    [{ topics: ["a"], environments: ["test"], key: key() }],
    "[0].environments must be",
  ],
  ["neither key nor certificate", [{ topics: ["a"] }], "either a key or a certificate"],
  [
    "both",
    [{ topics: ["a"], key: key(), certificate: { file: "cert.pem" } }],
    "either a key or a certificate",
  ],
  [
    "a key without its team",
    [{ topics: ["a"], key: { file: "key.p8", keyId: "a" } }],
    "needs file, keyId, teamId",
  ],
  ["a missing key file", [{ topics: ["a"], key: key("A", "none.p8") }], "[0].key cannot be read"],
  ["a certificate without its key", [{ topics: ["a"], certificate: { file: "cert.pem" } }], "cannot be used"],
  ["an invalid certificate", [{ topics: ["a"], certificate: { file: "words.txt" } }], "cannot be used"],
  [
    "a topic twice",
    [
      { topics: ["a"], key: key() },
      { topics: ["b", "a"], environments: ["sandbox"], key: key() },
    ],
    "names a in sandbox twice",
  ],
  [
    "one key id with two files",
    [
      { topics: ["a"], key: key() },
      { topics: ["b"], key: key("ABCDE12345", "second.p8") },
    ],
    "two files for key TEAM123456.ABCDE12345",
  ],
])("refuses an apps file with %s", (_name, value, problem) => {
  const attempt = (): unknown => readFile(value);
  expect(attempt).toThrow(ConfigError);
  expect(attempt).toThrow(problem);
});
