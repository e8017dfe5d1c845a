// Tests what `notification.apns` may contain.
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { checkApnsOverrides } from "./apns-overrides.js";

describe("apns", () => {
  test.each([
    {},
    { pushType: "voip", priority: 10 },
    { pushType: "background", priority: 5, aps: { "content-available": 1 } },
    {
      aps: {
        alert: { "loc-key": "K", "loc-args": ["a", "b"], subtitle: "s" },
        sound: { critical: 1, name: "x", volume: 1 },
        badge: 0,
        "mutable-content": 1,
        "interruption-level": "passive",
      },
      data: { anything: [{}, null, 1.5], "mutable-content": "here it is the app's own" },
    },
  ])("accepts %j", (value) => {
    expect(checkApnsOverrides(value)).toBeUndefined();
  });

  test.each([
    [null, "must be an object"],
    [[], "must be an object"],
    [{ mutableContent: 1 }, "mutableContent: is unknown; there are pushType, priority, aps, data"],
    [{ pushType: "mdm" }, /^pushType: must be one of alert, /],
    [{ pushType: "toString" }, /^pushType: must be one of/],
    [{ priority: "10" }, "priority: must be 10, 5 or 1"],
    [{ priority: 10, pushType: "background" }, "priority: must be 5 or 1 for a background push"],
    [{ aps: 1 }, "aps: must be an object"],
    [{ aps: { mutable_content: 1 } }, "aps/mutable_content: is unknown"],
    [{ aps: { "mutable-content": true } }, "aps/mutable-content: must be 1"],
    [{ aps: { badge: -1 } }, "aps/badge: must be an integer, at least 0"],
    [{ aps: { alert: "text" } }, "aps/alert: must be an object"],
    [{ aps: { alert: { "loc-args": [1] } } }, "aps/alert/loc-args: must be a list of strings"],
    [{ aps: { sound: { volume: 2 } } }, "aps/sound/volume: must be a number from 0 to 1"],
    [{ aps: { sound: 1 } }, "aps/sound: must be a string or an object"],
    [{ data: [] }, "data: must be an object"],
    [{ data: { aps: {} } }, "data/aps: this name is taken"],
    [{ data: { petrel: 1 } }, "data/petrel: this name is taken"],
  ])("refuses %j: %s", (value, fault) => {
    const found = checkApnsOverrides(value);
    if (typeof fault === "string") expect(found).toBe(fault);
    else expect(found).toMatch(fault);
  });

  test("no JSON makes it throw", () => {
    fc.assert(fc.property(fc.jsonValue(), (value) => void checkApnsOverrides(value)));
  });
});
