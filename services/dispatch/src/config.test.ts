// Tests dispatch's environment, where it says more than its schema's parts.
import { ConfigError } from "@petrel/shared/kernel/config";
import { expect, test } from "vitest";
import { readDispatchConfig } from "./config.js";

test("a dispatcher has both roles, or the given ones", () => {
  expect(readDispatchConfig({}).dispatchRoles).toEqual(["route", "fallback"]);
  expect(readDispatchConfig({ DISPATCH_ROLES: "fallback" }).dispatchRoles).toEqual(["fallback"]);
  expect(readDispatchConfig({ DISPATCH_ROLES: " fallback , route" }).dispatchRoles).toEqual([
    "route",
    "fallback",
  ]);
});

test("`apns`, the former word for `fallback`, is still understood", () => {
  expect(readDispatchConfig({ DISPATCH_ROLES: "apns" }).dispatchRoles).toEqual(["fallback"]);
  expect(readDispatchConfig({ DISPATCH_ROLES: "route,apns" }).dispatchRoles).toEqual(["route", "fallback"]);
});

test.each(["sender", "route,", "route,route", "apns,fallback", "toString", "Route", "route apns"])(
  "refuses the roles %j",
  (roles) => {
    const attempt = (): unknown => readDispatchConfig({ DISPATCH_ROLES: roles });
    expect(attempt).toThrow(ConfigError);
    expect(attempt).toThrow("DISPATCH_ROLES must be some of route, fallback, each once");
  },
);
