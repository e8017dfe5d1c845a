// Tests the headers and the payload of a push.
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  apnsIdOf,
  buildApnsRequest,
  collapseIdOf,
  fitsPushType,
  type ApnsRequestInput,
} from "./apns-request.js";

const device = { id: "d_0123456789abcdef", token: "ab".repeat(32), topic: "com.example.app" };

function build(
  notification: object,
  message: Partial<ApnsRequestInput["message"]> = {},
  topic = device.topic,
) {
  const built = buildApnsRequest({
    message: {
      id: "p2_Xb0mVq9XbZk3c0T9yHk1Zw",
      priority: "normal",
      expiresAtMs: 1_700_000_000_999,
      notification: JSON.stringify(notification),
      ...message,
    },
    device: { ...device, topic },
  });
  if (!built.ok) throw new Error(built.reason);
  const { request } = built;
  return { ...request, payload: JSON.parse(request.body.toString()) as Record<string, unknown> };
}

const hello = { title: "Hello", body: "World" };

test("sends no half emoji to Apple", () => {
  const { payload, body } = build({
    title: "Hi \ud83d",
    body: "\ud83d\ude00",
    apns: { data: { "k\ude00": "\udc00" } },
  });
  expect(body.toString()).not.toMatch(/\\u[dD][89a-fA-F]/);
  expect(payload).toMatchObject({
    aps: { alert: { title: "Hi \ufffd", body: "\ud83d\ude00" } },
    "k\ufffd": "\ufffd",
  });
});

describe("headers", () => {
  test("of a plain message", () => {
    expect(build(hello)).toMatchObject({
      path: `/3/device/${"ab".repeat(32)}`,
      headers: {
        "apns-topic": "com.example.app",
        "apns-push-type": "alert",
        "apns-priority": "5",
        "apns-expiration": "1700000000",
        "apns-collapse-id": "p2_Xb0mVq9XbZk3c0T9yHk1Zw",
      },
    });
  });

  test.each([
    ["high", undefined, undefined, "10"],
    ["normal", undefined, undefined, "5"],
    ["low", undefined, undefined, "1"],
    ["low", undefined, 10, "10"],
    ["high", "background", undefined, "5"],
    ["high", "background", 10, "5"],
    ["low", "background", undefined, "1"],
    ["low", "voip", undefined, "10"],
    ["low", "pushtotalk", 1, "10"],
  ] as const)("%s, %s, %s: priority %s", (priority, pushType, asked, expected) => {
    const apns = { ...(pushType && { pushType }), ...(asked && { priority: asked }) };
    expect(build({ ...hello, apns }, { priority }).headers["apns-priority"]).toBe(expected);
  });

  test.each([
    ["alert", "com.example.app"],
    ["background", "com.example.app"],
    ["voip", "com.example.app.voip"],
    ["complication", "com.example.app.complication"],
    ["fileprovider", "com.example.app.pushkit.fileprovider"],
    ["location", "com.example.app.location-query"],
    ["liveactivity", "com.example.app.push-type.liveactivity"],
    ["pushtotalk", "com.example.app.voip-ptt"],
    ["widgets", "com.example.app.push-type.widgets"],
    ["controls", "com.example.app.push-type.controls"],
  ])("%s goes to the device's own topic, %s, and never to a device of another", (pushType, topic) => {
    const notification = { ...hello, apns: { pushType } };
    const headers = { "apns-push-type": pushType, "apns-topic": topic };
    expect(build(notification, {}, topic).headers).toMatchObject(headers);
    const text = JSON.stringify(notification);
    expect(fitsPushType(topic, text)).toBe(true);
    expect(fitsPushType("com.example.app", text)).toBe(topic === "com.example.app");
    expect(fitsPushType("com.example.app.voip", text)).toBe(pushType === "voip");
    expect(fitsPushType("com.example.app.voip-ptt", text)).toBe(pushType === "pushtotalk");
  });

  test("what has no push type, or cannot be read, is an alert", () => {
    for (const text of [JSON.stringify(hello), '{"title":']) {
      expect(fitsPushType("com.example.app", text)).toBe(true);
      expect(fitsPushType("com.example.app.voip", text)).toBe(false);
    }
  });

  test("push to talk never waits and replaces nothing", () => {
    const { headers } = build({ ...hello, apns: { pushType: "pushtotalk" } });
    expect(headers["apns-expiration"]).toBe("0");
    expect(headers).not.toHaveProperty("apns-collapse-id");
  });

  test("the id is a UUID of version 8, the same at every attempt, different for each device and message", () => {
    const id = apnsIdOf("m1", "d_1");
    expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(apnsIdOf("m1", "d_1")).toBe(id);
    expect(new Set([id, apnsIdOf("m1", "d_2"), apnsIdOf("m2", "d_1"), apnsIdOf("m1d", "_1")]).size).toBe(4);
    // Held for good: a release that changed it would make two of one.
    expect(id).toBe("eb3534a5-b6c5-89bd-934d-74c2caaf6efe");
  });

  test("the header holds any collapse key", () => {
    expect(collapseIdOf("score-7")).toBe("score-7");
    fc.assert(
      fc.property(fc.string({ unit: "grapheme", minLength: 1, maxLength: 64 }), (key) => {
        const id = collapseIdOf(key);
        expect(id).toMatch(/^[\x21-\x7e]{1,64}$/);
        expect(collapseIdOf(key)).toBe(id);
      }),
    );
    expect(collapseIdOf("ü".repeat(64))).not.toBe(collapseIdOf("ü".repeat(63)));
    expect(build(hello, { collapseKey: "x".repeat(65) }).headers["apns-collapse-id"]).toHaveLength(43);
  });
});

describe("the payload", () => {
  test("with every field", () => {
    const notification = {
      ...hello,
      badge: 3,
      sound: "ping.caf",
      apns: {
        aps: {
          alert: { subtitle: "sub", "title-loc-key": "T", "title-loc-args": ["a"] },
          badge: 0,
          sound: { critical: 1, name: "alarm", volume: 0.5 },
          "mutable-content": 1,
          "content-available": 1,
          category: "CHAT",
          "thread-id": "t1",
          "interruption-level": "time-sensitive",
          "relevance-score": 0.7,
        },
        data: { order: 4711, nested: { a: [1, null] } },
      },
    };
    expect(build(notification).payload).toEqual({
      aps: {
        ...notification.apns.aps,
        alert: { ...hello, subtitle: "sub", "title-loc-key": "T", "title-loc-args": ["a"] },
      },
      order: 4711,
      nested: { a: [1, null] },
      petrel: { id: "p2_Xb0mVq9XbZk3c0T9yHk1Zw" },
    });
  });

  test("of a background push shows nothing", () => {
    const apns = { pushType: "background", data: { refresh: "inbox" } };
    expect(build({ ...hello, badge: 1, sound: "x", apns }).payload).toEqual({
      aps: { "content-available": 1 },
      refresh: "inbox",
      petrel: { id: "p2_Xb0mVq9XbZk3c0T9yHk1Zw" },
    });
  });

  test("is at most 4,096 bytes, 5,120 for VoIP; beyond that its size is the reason", () => {
    const bytesOf = (apns: object, chars: number): number =>
      build({ ...hello, body: "ü".repeat(chars), apns }).body.length;
    const overhead = bytesOf({}, 0);
    const most = Math.floor((4_096 - overhead) / 2);
    expect(bytesOf({}, most)).toBeLessThanOrEqual(4_096);
    expect(() => bytesOf({}, most + 1)).toThrow(/^the payload is 409[78] bytes, at most 4096 are allowed$/);
    const voip = { pushType: "voip" };
    expect(bytesOf(voip, most + 500)).toBeGreaterThan(4_096);
    expect(() => bytesOf(voip, most + 520)).toThrow(/at most 5120/);
  });

  test("that cannot be read fails alone", () => {
    const message = { id: "m", priority: "low", expiresAtMs: 1, notification: '{"title":' } as const;
    expect(buildApnsRequest({ message, device })).toEqual({
      ok: false,
      reason: "the notification cannot be read",
    });
  });
});
