// Tests the request that is made of a message.
import { anyText } from "@petrel/shared/testing/any-text";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { buildWechatMessage } from "./build-wechat-message.js";
import { checkField } from "./template-fields.js";
import type { WechatApp } from "./wechat-apps.js";

const account: WechatApp = {
  appid: "wx1",
  kind: "service-account",
  secret: "s",
  template: { id: "T1", fields: { thing1: "{title}", thing2: "{body}", time3: "{time}" } },
  opens: { url: "https://example.com/inbox" },
};
const program: WechatApp = { ...account, appid: "wx2", kind: "mini-program", opens: { page: "pages/inbox" } };
const ACCEPTED_MS = Date.parse("2026-01-01T18:05:00.000Z");

const build = (notification: object, app: WechatApp = account) =>
  buildWechatMessage(
    { id: "p0_m1", acceptedAtMs: ACCEPTED_MS, notification: JSON.stringify(notification) },
    app,
    "o-ada",
  );
const bodyOf = (notification: object, app?: WechatApp): unknown => {
  const built = build(notification, app);
  if (built.kind !== "built") throw new Error(built.reason);
  return JSON.parse(built.body);
};

describe("from the app's template", () => {
  test("a service account's has title, body, time, what it opens, and the message's id", () => {
    expect(bodyOf({ title: "Order 7", body: "is ready" })).toEqual({
      touser: "o-ada",
      template_id: "T1",
      url: "https://example.com/inbox",
      data: {
        thing1: { value: "Order 7" },
        thing2: { value: "is ready" },
        time3: { value: "2026-01-02 02:05" },
      },
      client_msg_id: "p0_m1",
    });
  });

  test("a mini program's has its page and no id: WeChat supports none for it", () => {
    expect(bodyOf({ title: "Order 7", body: "is ready" }, program)).toEqual({
      touser: "o-ada",
      template_id: "T1",
      page: "pages/inbox",
      data: expect.anything(),
    });
  });

  test("any text is fitted to its field", () => {
    fc.assert(
      fc.property(anyText(), anyText(), (title, body) => {
        const built = build({ title, body });
        if (built.kind !== "built") throw new Error(built.reason);
        const { data } = JSON.parse(built.body) as { data: Record<string, { value: string }> };
        for (const [field, { value }] of Object.entries(data))
          expect(checkField(field, value)).toBeUndefined();
      }),
    );
  });

  test("reports a field that a text cannot fit, with its place in the file", () => {
    const app = { ...account, template: { id: "T1", fields: { phrase1: "{title}" } } };
    expect(build({ title: "not Chinese", body: "" }, app)).toEqual({
      kind: "invalid",
      reason: 'data.phrase1 must be 1 to 5 Chinese characters: WECHAT_APPS_FILE fills in "{title}"',
    });
  });

  test("without a template, the app cannot deliver the message", () => {
    expect(build({ title: "a", body: "b" }, { ...account, template: undefined })).toMatchObject({
      kind: "none",
    });
  });
});

describe("from the message's own template", () => {
  const wechat = (fields: object) => ({ title: "a", body: "b", wechat: fields });

  test("fields are sent unchanged, bare or in WeChat's form", () => {
    const own = {
      template_id: "T2",
      data: { thing1: "x", amount2: { value: "¥5" }, number3: 42 },
      url: "https://a.test/b",
    };
    expect(bodyOf(wechat(own))).toEqual({
      touser: "o-ada",
      template_id: "T2",
      url: "https://a.test/b",
      data: { thing1: { value: "x" }, amount2: { value: "¥5" }, number3: { value: "42" } },
      client_msg_id: "p0_m1",
    });
  });

  test("each kind of app takes its own fields", () => {
    const both = { data: { thing1: "x" }, miniprogram: { appid: "wx2" }, page: "pages/a", lang: "en_US" };
    expect(bodyOf(wechat(both))).toMatchObject({
      miniprogram: { appid: "wx2" },
      url: "https://example.com/inbox",
    });
    expect(bodyOf(wechat(both), program)).toMatchObject({ page: "pages/a", lang: "en_US" });
    expect(bodyOf(wechat(both))).not.toHaveProperty("page");
    expect(bodyOf(wechat(both), program)).not.toHaveProperty("miniprogram");
  });

  test("a message for another app is not sent to this one", () => {
    expect(build(wechat({ appid: "wx9", data: { thing1: "x" } }))).toMatchObject({ kind: "none" });
    expect(build(wechat({ appid: "wx1", data: { thing1: "x" } }))).toMatchObject({ kind: "built" });
  });

  test.each<[object, string]>([
    [{ data: { thing1: "x".repeat(21) } }, "notification.wechat.data.thing1 must be 1 to 20 characters"],
    [{ data: { thing1: "two\nlines" } }, "without a line break"],
    [{ data: { phrase2: "abc" } }, "notification.wechat.data.phrase2 must be 1 to 5 Chinese characters"],
    [{ data: { thing1: null } }, "notification.wechat.data.thing1 must be a string, a number"],
    [{ data: { thing1: { value: "x", color: "#f00" } } }, "data.thing1 must be a string, a number"],
    [{ data: { "thing 1": "x" } }, '"thing 1" is not a field'],
    [{ data: {} }, "data must be an object with the template's fields"],
    [{ data: "x" }, "data must be an object"],
    [{ template_id: "T2" }, "data is missing"],
    [{ template_id: 7, data: { thing1: "x" } }, "template_id is not a template's id"],
    [{ templateId: "T2", data: { thing1: "x" } }, 'notification.wechat has "templateId"'],
    [{ url: "javascript:alert(1)", data: { thing1: "x" } }, "notification.wechat.url must be an address"],
    [{ appid: 7 }, "notification.wechat.appid must be a string"],
  ])("refuses %j, naming what is wrong", (own, what) => {
    const built = build(wechat(own));
    expect(built).toMatchObject({ kind: "invalid", reason: expect.stringContaining(what) });
  });
});
