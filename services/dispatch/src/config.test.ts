// Tests dispatch's environment, where it says more than its schema's parts.
import { ConfigError } from "@petrel/shared/kernel/config";
import { expect, test } from "vitest";
import { readDispatchConfig } from "./config.js";

test("a dispatcher has both roles, or those it is given", () => {
  expect(readDispatchConfig({}).dispatchRoles).toEqual(["route", "apns"]);
  expect(readDispatchConfig({ DISPATCH_ROLES: "apns" }).dispatchRoles).toEqual(["apns"]);
  expect(readDispatchConfig({ DISPATCH_ROLES: " apns , route" }).dispatchRoles).toEqual(["route", "apns"]);
});

test.each(["sender", "route,", "route,route", "Route", "route apns"])("the roles %j are refused", (roles) => {
  const attempt = (): unknown => readDispatchConfig({ DISPATCH_ROLES: roles });
  expect(attempt).toThrow(ConfigError);
  expect(attempt).toThrow("DISPATCH_ROLES must be some of route, apns, each once");
});
