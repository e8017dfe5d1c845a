// Tests tokens and tickets over a connection's life, and the closes that end a sign-in, on real sockets.
// Guarantees: a ticket is used once; a token is renewed in place; a user who is signed out learns why.
import { waitFor } from "@petrel/shared/testing/wait-for";
import { WsPeer, type PeerSocket } from "@petrel/shared/testing/peers/ws-peer";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import {
  clientErrorCodes,
  PetrelClient,
  type ClientState,
  type ClosedEvent,
  type PetrelClientOptions,
} from "./client.js";

let peer: WsPeer;
let clients: PetrelClient[];
let asked: string[];

beforeEach(async () => {
  peer = await WsPeer.start();
  clients = [];
  asked = [];
});

afterEach(async () => {
  await Promise.all(clients.map((client) => client.close()));
  await peer.close();
});

const getToken = ({ reason }: { readonly reason: string }): string => {
  asked.push(`token ${reason}`);
  return `token-${asked.length}`;
};
const getTicket = ({ reason }: { readonly reason: string }): string => {
  asked.push(`ticket ${reason}`);
  return `pt_${asked.length}`;
};

function started(options: Partial<PetrelClientOptions>): PetrelClient {
  const client = new PetrelClient({
    url: peer.url,
    WebSocket,
    ...options,
    timing: { backoffBaseMs: 20, backoffCapMs: 100, ...options.timing },
  });
  clients.push(client);
  client.connect();
  return client;
}

async function welcomed(client: PetrelClient): Promise<PeerSocket> {
  const socket = await peer.accept();
  socket.welcome();
  await client.whenOnline();
  return socket;
}

it("requires one of getToken and getTicket", () => {
  expect(() => new PetrelClient({ url: peer.url, WebSocket })).toThrow(/getToken.*getTicket/);
  expect(() => new PetrelClient({ url: peer.url, WebSocket, getTicket: "pt_1" as never })).toThrow(
    /getTicket/,
  );
});

describe("tickets", () => {
  it("are sent in the address, a fresh one for each attempt", async () => {
    const client = started({ getTicket, getToken });
    const first = await welcomed(client);
    expect(first.query.get("ticket")).toBe("pt_1");
    expect(first.offered).toEqual(["petrel.v1"]);
    first.cut();
    const second = await peer.accept();
    expect(second.query.get("ticket")).toBe("pt_2");
    expect(second.query.get("since")).toBe("0");
    second.welcome();
    second.send({ type: "error", code: "PETREL_TICKET_INVALID", message: "used", action: "refresh" });
    second.close(4401);
    expect((await peer.accept()).query.get("ticket")).toBe("pt_3");
    expect(asked).toEqual(["ticket connect", "ticket connect", "ticket refresh"]);
  });

  it("are asked for again when getTicket fails, and no attempt is made without one", async () => {
    const codes: string[] = [];
    let calls = 0;
    const client = started({
      getTicket: () => {
        if (++calls < 3) throw new Error("auth is away");
        return "late";
      },
    });
    client.on("error", ({ code, message }) => {
      codes.push(code);
      expect(message).toContain("getTicket failed: auth is away");
    });
    expect((await peer.accept()).query.get("ticket")).toBe("late");
    expect(codes).toEqual([clientErrorCodes.tokenFailed, clientErrorCodes.tokenFailed]);
    expect(peer.accepted).toBe(1);
  });

  it("alone: an expiring token makes the client move without going offline", async () => {
    const client = started({ getTicket });
    const first = await welcomed(client);
    const states: ClientState[] = [];
    client.on("state", (state) => states.push(state));
    first.send({ type: "token_expiring", inSeconds: 30 });
    const second = await peer.accept();
    expect(second.query.get("ticket")).toBe("pt_2");
    second.welcome();
    expect(await first.closed).toMatchObject({ code: 4000 });
    expect(asked).toEqual(["ticket connect", "ticket expiring"]);
    expect(states).toEqual([]);
  });

  it("with getToken: the token is sent over the open connection", async () => {
    const client = started({ getTicket, getToken });
    const socket = await welcomed(client);
    socket.send({ type: "token_expiring", inSeconds: 30 });
    expect(await socket.next("token")).toEqual({ type: "token", token: "token-2" });
    expect(asked).toEqual(["ticket connect", "token expiring"]);
  });
});

describe("a client that is closed and started again", () => {
  it("asks for a token again: the former one belonged to whoever signed out", async () => {
    const client = started({ getToken });
    expect((await welcomed(client)).offered).toEqual(["petrel.v1", "bearer.token-1"]);
    await client.close();
    client.connect();
    expect((await peer.accept()).offered).toEqual(["petrel.v1", "bearer.token-2"]);
    expect(asked).toEqual(["token connect", "token connect"]);
  });

  it("ignores the answer to an earlier request for a token", async () => {
    const answers: ((token: string) => void)[] = [];
    const client = started({ getToken: () => new Promise<string>((resolve) => answers.push(resolve)) });
    await waitFor(() => answers.length === 1, { what: "the first question" });
    await client.close();
    answers[0]?.("token-of-ada");
    await new Promise((resolve) => setImmediate(resolve));
    client.connect();
    await waitFor(() => answers.length === 2, { what: "the second question" });
    answers[1]?.("token-of-bob");
    expect((await peer.accept()).offered).toEqual(["petrel.v1", "bearer.token-of-bob"]);
  });
});

describe("renewing in place", () => {
  it("a token that lasts seconds is not asked for again at once", async () => {
    const client = started({ getToken });
    const socket = await welcomed(client);
    const toldAtMs = performance.now();
    socket.send({ type: "token_expiring", inSeconds: 1 });
    await socket.next("token");
    // Half of the time left, minus the timer's rounding.
    expect(performance.now() - toldAtMs).toBeGreaterThan(480);
  });

  it("a token that could not be checked is sent again, not asked for again", async () => {
    const client = started({ getToken });
    const errors: string[] = [];
    client.on("error", ({ code }) => errors.push(code));
    const socket = await welcomed(client);
    socket.send({ type: "token_expiring", inSeconds: 30 });
    const first = await socket.next("token");
    const ref = { ref: "token", action: "backoff" };
    socket.send({ type: "error", code: "PETREL_UNAVAILABLE", message: "not now", ...ref });
    expect(await socket.next("token", 10_000)).toEqual(first);
    expect(errors).toEqual(["PETREL_UNAVAILABLE"]);
    expect(asked).toEqual(["token connect", "token expiring"]);
    expect(client.state).toBe("online");
  });

  it("requests nothing for a connection that has ended meanwhile", async () => {
    const client = started({ getToken });
    const first = await welcomed(client);
    const told = new Promise((resolve) => client.once("error", resolve));
    first.send({ type: "token_expiring", inSeconds: 0.2 });
    first.send({ type: "error", code: "PETREL_INTERNAL", message: "read behind it", action: "resume" });
    await told;
    first.cut();
    await peer.accept();
    // Past the moment when the client would have asked.
    await new Promise((resolve) => setTimeout(resolve, 250));
    expect(asked).toEqual(["token connect"]);
  });
});

describe("the end of a sign-in", () => {
  it.each([
    [4403, "PETREL_TOKEN_REVOKED"],
    [4403, "PETREL_USER_ERASED"],
    [4409, "PETREL_SIGNED_IN_ELSEWHERE"],
  ])("%i %s: stops and reports why", async (code, error) => {
    const client = started({ getToken });
    const closed = new Promise<ClosedEvent>((resolve) => client.once("closed", resolve));
    const socket = await welcomed(client);
    socket.send({ type: "error", code: error, message: "the reason", action: "stop" });
    socket.close(code, error);
    expect(await closed).toEqual({
      code,
      reason: error,
      byClient: false,
      error: { code: error, message: "the reason" },
    });
    await expect(peer.accept(150)).rejects.toThrow("no connection");
    // When the application connects again, the client asks it for a fresh token.
    client.connect();
    await peer.accept();
    expect(asked).toEqual(["token connect", "token refresh"]);
  });

  it("4409 while it was only asked to move and has not begun: another sign-in", async () => {
    const client = started({ getToken });
    const closed = new Promise<ClosedEvent>((resolve) => client.once("closed", resolve));
    const socket = await welcomed(client);
    socket.send({ type: "reconnect", afterMs: 600_000, reason: "drain" });
    socket.close(4409);
    expect(await closed).toMatchObject({ code: 4409 });
    await expect(peer.accept(150)).rejects.toThrow("no connection");
  });

  it("4409 after its own attempt to move: caused by itself", async () => {
    const client = started({ getToken });
    const socket = await welcomed(client);
    socket.send({ type: "reconnect", afterMs: 1, reason: "drain" });
    // The node registered it, but the connection was lost before the welcome.
    (await peer.accept()).cut();
    await waitFor(() => client.state === "online", { what: "the wait for the next attempt" });
    socket.close(4409);
    const third = await peer.accept();
    third.welcome();
    await client.whenOnline();
    expect(client.state).toBe("online");
  });
});

describe("an answer of getToken", () => {
  it("that comes late does not replace a newer one", async () => {
    const slow: ((token: string) => void)[] = [];
    const client = started({
      getToken: ({ reason }) => {
        asked.push(reason);
        if (reason !== "expiring") return `token-${asked.length}`;
        return new Promise<string>((resolve) => slow.push(resolve));
      },
    });
    const first = await welcomed(client);
    first.send({ type: "token_expiring", inSeconds: 30 });
    await waitFor(() => slow.length === 1, { what: "the client to ask for a fresh token" });
    first.close(4401);
    const second = await peer.accept();
    expect(second.offered[1]).toBe("bearer.token-3");
    second.welcome();
    await client.whenOnline();
    slow[0]?.("token-2-that-was-revoked");
    // Runs after it, in the same microtask queue.
    await new Promise((resolve) => setTimeout(resolve));
    second.cut();
    expect((await peer.accept()).offered[1]).toBe("bearer.token-3");
    expect(asked).toEqual(["connect", "expiring", "refresh"]);
  });

  it("that was requested before the refusal does not count as fresh", async () => {
    const answers: { give: (token: string) => void; fail: (error: Error) => void }[] = [];
    const client = started({
      getToken: ({ reason }) => {
        asked.push(reason);
        if (asked.length !== 2 && asked.length !== 3) return `token-${asked.length}`;
        return new Promise<string>((resolve, reject) => answers.push({ give: resolve, fail: reject }));
      },
    });
    client.on("error", () => undefined);
    const first = await welcomed(client);
    first.send({ type: "token_expiring", inSeconds: 30 });
    await waitFor(() => answers.length === 1, { what: "the client to ask for a fresh token" });
    first.close(4401);
    await waitFor(() => answers.length === 2, { what: "the client to ask again" });
    answers[0]?.give("token-2-that-was-revoked");
    answers[1]?.fail(new Error("the server is away"));
    expect((await peer.accept()).offered[1]).toBe("bearer.token-4");
    expect(asked).toEqual(["connect", "expiring", "refresh", "refresh"]);
  });

  it.each([
    ["an error page", "<!doctype html><title>502 Bad Gateway</title>"],
    ["an error in JSON", '{"error":{"code":"PETREL_UNAUTHORIZED"}}'],
    ["a token with a line's end", "token-1\n"],
  ])("that is %s is not sent to any server and is reported", async (_what, wrong) => {
    for (const credentials of ["subprotocol", "first-frame"] as const) {
      let calls = 0;
      const errors: string[] = [];
      const client = started({ credentials, getToken: () => (++calls === 1 ? wrong : "good") });
      client.on("error", ({ code }) => errors.push(code));
      const socket = await peer.accept();
      if (credentials === "first-frame") expect(await socket.next("auth")).toMatchObject({ token: "good" });
      else expect(socket.offered[1]).toBe("bearer.good");
      expect(errors).toEqual([clientErrorCodes.tokenFailed]);
      await client.close();
    }
  });
});
