// Tests which WECHAT_APPS_FILE is taken, and what is said of one that is not.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { readWechatApps } from "./wechat-apps.js";

const directory = mkdtempSync(join(tmpdir(), "petrel-wechat-apps-"));
afterAll(() => rmSync(directory, { recursive: true }));

const read = (content: unknown) => {
  const file = join(directory, "apps.json");
  writeFileSync(file, typeof content === "string" ? content : JSON.stringify(content));
  return readWechatApps(file);
};
const good = {
  kind: "service-account",
  secret: "s3cr3t",
  template: { id: "T1", fields: { thing1: "{title}", time2: "{time}", const3: "新消息" } },
  opens: { url: "https://example.com/inbox", miniprogram: { appid: "wx2", pagepath: "pages/index" } },
};

test("without a file no app is configured", () => {
  expect(readWechatApps(undefined).size).toBe(0);
});

test("reads a complete app, and a minimal one", () => {
  writeFileSync(join(directory, "secret"), "of-a-file\n");
  const apps = read({ wx1: good, wx2: { kind: "mini-program", secretFile: "secret" } });
  expect(apps.get("wx1")).toEqual({ appid: "wx1", ...good });
  expect(apps.get("wx2")).toEqual({
    appid: "wx2",
    kind: "mini-program",
    secret: "of-a-file",
    template: undefined,
    opens: {},
  });
});

test.each<[unknown, string]>([
  ["{", "must be JSON"],
  ["[]", "WECHAT_APPS_FILE must be an object"],
  [{}, "must name an app at least"],
  [{ "no id": good }, '"no id" is not an appid'],
  [{ wx1: { ...good, kind: "app" } }, "WECHAT_APPS_FILE.wx1.kind must be service-account or mini-program"],
  [{ wx1: { ...good, templates: {} } }, 'WECHAT_APPS_FILE.wx1 has "templates"; it may have kind, secret'],
  [{ wx1: { ...good, secret: undefined } }, "must have either a secret or a secretFile"],
  [{ wx1: { ...good, secretFile: "x" } }, "must have either a secret or a secretFile"],
  [{ wx1: { ...good, secret: "two words" } }, "the secret must be one word of ASCII"],
  [
    { wx1: { kind: "mini-program", secretFile: "nowhere" } },
    "WECHAT_APPS_FILE.wx1.secretFile cannot be read",
  ],
  [{ wx1: { ...good, template: { id: "T 1", fields: {} } } }, "template.id is not a template's id"],
  [{ wx1: { ...good, template: { id: "T1", fields: {} } } }, "fields must name a field at least"],
  [{ wx1: { ...good, template: { id: "T1", fields: { "a b": "x" } } } }, '"a b" is not a field'],
  [{ wx1: { ...good, template: { id: "T1", fields: { thing1: "{sender}" } } } }, "no {sender}"],
  [{ wx1: { ...good, template: { id: "T1", fields: { thing1: 7 } } } }, "fields.thing1 must be a string"],
  [
    { wx1: { ...good, opens: { page: "p" } } },
    'opens has "page"; a service-account\'s may have url, miniprogram',
  ],
  [{ wx1: { ...good, opens: { url: "ftp://x" } } }, "opens.url must be an address"],
  [{ wx1: { ...good, opens: { miniprogram: {} } } }, "opens.miniprogram must have an appid"],
  [
    { wx1: { kind: "mini-program", secret: "x", opens: { miniprogram_state: "beta" } } },
    "opens.miniprogram_state must be one of developer, trial, formal",
  ],
])("refuses %j", (content, what) => {
  expect(() => read(content)).toThrow(what);
  expect(() => read(content)).not.toThrow("s3cr3t");
});
