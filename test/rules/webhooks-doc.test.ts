// Runs what docs/send/webhooks.md shows to receivers' authors, in the three languages, on requests that the sender signs.
// Guarantees: each takes both signatures of a rotation, and refuses a body or an id changed by one byte, an old
// timestamp, and another secret.
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  makeWebhookSecret,
  parseWebhookSecret,
  signWebhook,
} from "../../services/dispatch/src/webhooks/sender/sign-webhook.js";

const text = readFileSync(new URL("../../docs/send/webhooks.md", import.meta.url), "utf8");

function codeOf(language: string): string {
  const [, code = ""] =
    new RegExp(
      `<!-- runs in test/rules/webhooks-doc.test.ts -->\n\`\`\`${language}\n([\\s\\S]*?)\`\`\``,
    ).exec(text) ?? [];
  expect(code).not.toBe("");
  return code;
}

let directory: string;
beforeAll(() => void (directory = mkdtempSync(join(tmpdir(), "petrel-webhooks-"))));
afterAll(() => rmSync(directory, { recursive: true }));

const [secret, other] = [makeWebhookSecret(), makeWebhookSecret()];
const keyOf = (one: string): Buffer => parseWebhookSecret(one) ?? Buffer.alloc(0);
const body = '{"type":"events","data":{"items":[{"user":"Ä"}]}}';
const nowMs = Date.now();
const id = "msg_Xb0mVq9XbZk3c0T9yHk1Zw";
const headers = signWebhook(id, nowMs, body, [keyOf(secret)]);

const cases = [
  ["as it was sent", true, headers, body],
  ["signed by two secrets", true, signWebhook(id, nowMs, body, [keyOf(other), keyOf(secret)]), body],
  ["a body changed by one byte", false, headers, body.replace("user", "usex")],
  ["a body that is longer by one", false, headers, `${body} `],
  ["another id", false, { ...headers, "webhook-id": `${id}x` }, body],
  ["ten minutes old", false, signWebhook(id, nowMs - 600_000, body, [keyOf(secret)]), body],
  ["ten minutes ahead", false, signWebhook(id, nowMs + 600_000, body, [keyOf(secret)]), body],
  [
    "another time than the signed one",
    false,
    { ...headers, "webhook-timestamp": String(Math.floor(nowMs / 1_000) - 1) },
    body,
  ],
  ["another secret", false, signWebhook(id, nowMs, body, [keyOf(other)]), body],
  ["not signed", false, signWebhook(id, nowMs, body, []), body],
  ["no headers", false, {}, body],
] as const;

const input = JSON.stringify(
  cases.map(([, , given, content]) => ({ headers: given, body: Buffer.from(content).toString("base64") })),
);

function judge(command: string, args: readonly string[]): unknown {
  const environment = { ...process.env, SECRET: secret };
  return JSON.parse(
    execFileSync(command, args, {
      cwd: directory,
      input,
      env: environment,
      encoding: "utf8",
      timeout: 120_000,
    }),
  );
}

const write = (name: string, content: string): void => writeFileSync(join(directory, name), content);
const expected = cases.map(([, isGood]) => isGood);

describe("a receiver that verifies as the page says", () => {
  test("in Node", () => {
    write(
      "verify.mjs",
      `${codeOf("js")}
import { readFileSync } from "node:fs";
const cases = JSON.parse(readFileSync(0, "utf8"));
const judged = cases.map((one) => isFromPetrel(one.headers, Buffer.from(one.body, "base64"), process.env.SECRET));
console.log(JSON.stringify(judged));
`,
    );
    expect(judge(process.execPath, ["verify.mjs"])).toEqual(expected);
  });

  test("in Python", () => {
    write(
      "verify.py",
      `${codeOf("python")}
import json, os, sys
cases = json.load(sys.stdin)
print(json.dumps([is_from_petrel(c["headers"], base64.b64decode(c["body"]), os.environ["SECRET"]) for c in cases]))
`,
    );
    expect(judge("python3", ["verify.py"])).toEqual(expected);
  });

  const hasGo = spawnSync("go", ["version"]).status === 0;
  test.skipIf(!hasGo)("in Go", { timeout: 180_000 }, () => {
    write("go.mod", "module verify\n\ngo 1.21\n");
    write("verify.go", codeOf("go"));
    write(
      "main.go",
      `package main

import ("encoding/json"; "fmt"; "os")

func main() {
	var cases []struct { Headers map[string]string; Body []byte }
	if err := json.NewDecoder(os.Stdin).Decode(&cases); err != nil { panic(err) }
	judged := []bool{}
	for _, one := range cases {
		judged = append(judged, isFromPetrel(func(name string) string { return one.Headers[name] }, one.Body, os.Getenv("SECRET")))
	}
	text, _ := json.Marshal(judged)
	fmt.Println(string(text))
}
`,
    );
    expect(judge("go", ["run", "."])).toEqual(expected);
  });
});
