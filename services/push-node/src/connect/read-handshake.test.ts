// What an upgrade request may ask for, as a table.
import { PetrelError } from "@petrel/shared/kernel/errors";
import { createMatchOrigin } from "@petrel/shared/security/requests/match-origin";
import { describe, expect, test } from "vitest";
import { readHandshake, type HandshakeRules } from "./read-handshake.js";

const closed: HandshakeRules = {
  isAllowedOrigin: createMatchOrigin(["https://app.example"]),
  tokenInQuery: false,
};
const open: HandshakeRules = { isAllowedOrigin: createMatchOrigin(["*"]), tokenInQuery: true };

function read(headers: Record<string, string>, query = "", rules = closed) {
  return readHandshake(headers, new URLSearchParams(query), rules);
}

function refusal(headers: Record<string, string>, query = "", rules = closed): string {
  try {
    read(headers, query, rules);
  } catch (error) {
    if (error instanceof PetrelError) return `${error.status} ${error.code}`;
  }
  return "taken";
}

const badRequest = "400 PETREL_INVALID_REQUEST";
const badOrigin = "403 PETREL_ORIGIN_REFUSED";

describe("origin", () => {
  test.each([
    ["none", {}, closed, "taken"],
    ["on the list", { origin: "https://app.example" }, closed, "taken"],
    ["not on the list", { origin: "https://evil.example" }, closed, badOrigin],
    ["one with the same prefix", { origin: "https://app.example.evil" }, closed, badOrigin],
    ["null", { origin: "null" }, closed, badOrigin],
    ["null if any is allowed", { origin: "null" }, open, badOrigin],
    ["any if any is allowed", { origin: "https://evil.example" }, open, "taken"],
    [
      "any on an empty list",
      { origin: "https://app.example" },
      { ...closed, isAllowedOrigin: createMatchOrigin([]) },
      badOrigin,
    ],
  ])("%s", (_name, headers, rules, expected) => {
    expect(refusal(headers as Record<string, string>, "", rules)).toBe(expected);
  });
});

describe("subprotocols", () => {
  test.each([
    ["ours", "petrel.v1", "taken"],
    ["ours and a token", "petrel.v1, bearer.abc", "taken"],
    ["ours last, no blanks", "bearer.abc,petrel.v1", "taken"],
    ["another", "graphql-ws", badRequest],
    ["a token alone", "bearer.abc", badRequest],
    ["empty", "", badRequest],
    ["a hole in the list", "petrel.v1,,bearer.abc", "taken"],
    ["holes at its ends", ",petrel.v1 ,\t", "taken"],
    ["only empty entries", ", ,", badRequest],
    ["other white space", "petrel.v1,\u00a0bearer.abc", badRequest],
    ["ours twice", "petrel.v1, petrel.v1", badRequest],
    ["not a token", "petrel.v1, bearer.a b", badRequest],
  ])("%s", (_name, header, expected) => {
    expect(refusal({ "sec-websocket-protocol": header })).toBe(expected);
  });
});

describe("credential", () => {
  test("from a subprotocol", () => {
    expect(read({ "sec-websocket-protocol": "petrel.v1, bearer.a.b.c" }).credential).toEqual({
      kind: "token",
      token: "a.b.c",
    });
  });

  test("from the header, its scheme in any case", () => {
    expect(read({ authorization: "bearer a.b.c" }).credential).toEqual({ kind: "token", token: "a.b.c" });
  });

  test("a header of another scheme is a credential, and a bad one", () => {
    expect(read({ authorization: "Basic abc" }).credential).toEqual({ kind: "token", token: "" });
  });

  test("a ticket", () => {
    expect(read({}, "ticket=t1").credential).toEqual({ kind: "ticket", ticket: "t1" });
  });

  test("none: awaited as the first frame", () => {
    expect(read({}).credential).toEqual({ kind: "awaited" });
  });

  test("a token in the query: refused unless allowed", () => {
    expect(refusal({}, "token=a.b.c")).toBe(badRequest);
    expect(read({}, "token=a.b.c", open).credential).toEqual({ kind: "token", token: "a.b.c" });
  });

  test.each([
    [
      "subprotocol and header",
      { "sec-websocket-protocol": "petrel.v1, bearer.a", authorization: "Bearer a" },
      "",
    ],
    ["subprotocol and ticket", { "sec-websocket-protocol": "petrel.v1, bearer.a" }, "ticket=t"],
    ["header and ticket", { authorization: "Bearer a" }, "ticket=t"],
    ["header and query", { authorization: "Bearer a" }, "token=a"],
    ["two tickets", {}, "ticket=t&ticket=u"],
    ["two in subprotocols", { "sec-websocket-protocol": "petrel.v1, bearer.a, bearer.b" }, ""],
  ])("more than one: %s", (_name, headers, query) => {
    expect(refusal(headers as Record<string, string>, query, open)).toBe(badRequest);
  });
});

describe("resume", () => {
  test("accepts both parts", () => {
    expect(read({}, "epoch=abc.0&since=12").position).toEqual({ epoch: "abc.0", since: 12 });
    expect(read({}).position).toBeUndefined();
  });

  test.each([
    "epoch=abc",
    "since=1",
    "epoch=&since=1",
    "epoch=abc&since=",
    "epoch=abc&since=-1",
    "epoch=abc&since=1.5",
    "epoch=abc&since=1e3",
    "epoch=abc&since=12345678901234567",
    "epoch=a%20b&since=1",
    `epoch=${"a".repeat(65)}&since=1`,
    "epoch=abc&since=1&since=2",
    "epoch=abc&epoch=abd&since=1",
    "ack=auto&ack=auto",
  ])("malformed: %s", (query) => {
    expect(refusal({}, query)).toBe(badRequest);
  });
});

describe("ack", () => {
  test("is auto or absent, and otherwise refused", () => {
    expect(read({}, "ack=auto").ackAuto).toBe(true);
    expect(read({}).ackAuto).toBe(false);
    expect(refusal({}, "ack=other")).toBe(badRequest);
    expect(refusal({}, "ack=")).toBe(badRequest);
  });
});
