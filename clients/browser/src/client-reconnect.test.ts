// Tests how the client stays connected, over real sockets to a scripted push node.
// Guarantees: each close code, refusal and silence leads to what the contract says.
import { once } from "node:events";
import { createServer, type AddressInfo } from "node:net";
import { freePort } from "@petrel/shared/testing/free-port";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { WsPeer } from "@petrel/shared/testing/peers/ws-peer";
import { describe, expect, it } from "vitest";
import { useClientPeer } from "../../../test/support/clients/client-peer.js";
import { clientErrorCodes, type ClientState, type ClosedEvent } from "./client.js";

const { accept, acceptedCount, closeClients, peerUrl, started, tokenReasons } = useClientPeer();

describe("credentials", () => {
  it("are sent in the subprotocol", async () => {
    const client = started();
    const socket = await accept();
    expect(socket.offered).toEqual(["petrel.v1", "bearer.token-1"]);
    expect([...socket.query.keys()]).toEqual([]);
    socket.welcome();
    expect((await client.whenOnline()).user).toBe("alice");
  });

  it("are sent in the first frame if configured", async () => {
    started({ credentials: "first-frame" });
    const socket = await accept();
    expect(socket.offered).toEqual(["petrel.v1"]);
    expect(await socket.next("auth")).toEqual({ type: "auth", token: "token-1" });
  });

  it("are renewed over the open connection before they expire", async () => {
    const client = started();
    const socket = await accept();
    socket.welcome();
    await client.whenOnline();
    socket.send({ type: "token_expiring", inSeconds: 30 });
    expect(await socket.next("token")).toEqual({ type: "token", token: "token-2" });
    expect(tokenReasons).toEqual(["connect", "expiring"]);
    socket.cut();
    expect((await accept()).offered[1]).toBe("bearer.token-2");
  });

  it("are asked for again when getToken fails", async () => {
    let calls = 0;
    const codes: string[] = [];
    const client = started({
      getToken: () => {
        if (++calls < 3) throw new Error("auth is away");
        return "late";
      },
    });
    client.on("error", ({ code }) => codes.push(code));
    expect((await accept()).offered[1]).toBe("bearer.late");
    expect(codes).toEqual([clientErrorCodes.tokenFailed, clientErrorCodes.tokenFailed]);
  });

  it("are given up after a while if getToken does not answer", async () => {
    let calls = 0;
    started({
      getToken: () => (++calls === 1 ? new Promise<string>(() => undefined) : "second"),
      timing: { tokenTimeoutMs: 50 },
    });
    expect((await accept()).offered[1]).toBe("bearer.second");
  });

  it("that are not a token lead to an error and another attempt", async () => {
    let calls = 0;
    const client = started({ getToken: () => (++calls === 1 ? "not a token" : "good") });
    const code = new Promise((resolve) => client.once("error", (error) => resolve(error.code)));
    expect((await accept()).offered[1]).toBe("bearer.good");
    expect(await code).toBe(clientErrorCodes.tokenFailed);
  });
});

describe("after a close", () => {
  it.each([1001, 1011, 1012, 1013, 4408])("%i: connects again and resumes", async (code) => {
    started();
    const first = await accept();
    first.welcome({ after: 7 });
    first.close(code);
    const second = await accept();
    expect([second.query.get("epoch"), second.query.get("since")]).toEqual(["e1", "7"]);
    expect(tokenReasons).toEqual(["connect"]);
  });

  it("1006 (no close frame): connects again and resumes", async () => {
    const client = started();
    const offline = new Promise((resolve) => client.once("offline", resolve));
    const first = await accept();
    first.welcome({ after: 7 });
    await client.whenOnline();
    first.cut();
    expect((await accept()).query.get("since")).toBe("7");
    expect(await offline).toMatchObject({ code: 1006 });
  });

  it("4401: gets a fresh token first", async () => {
    started();
    const first = await accept();
    first.send({ type: "error", code: "PETREL_TOKEN_EXPIRED", message: "over", action: "refresh" });
    first.close(4401);
    expect((await accept()).offered[1]).toBe("bearer.token-2");
    expect(tokenReasons).toEqual(["connect", "refresh"]);
  });

  it.each([4429, 4999])("%i: waits longer", async (code) => {
    started();
    const first = await accept();
    first.welcome();
    const closedAtMs = performance.now();
    first.close(code);
    await accept();
    // Half of longBackoffBaseMs, minus the timer's rounding.
    expect(performance.now() - closedAtMs).toBeGreaterThan(195);
  });

  it.each([1000, 1002, 1003, 1007, 1009, 4400, 4403, 4409])("%i: stops", async (code) => {
    const client = started();
    const closed = new Promise<ClosedEvent>((resolve) => client.once("closed", resolve));
    const first = await accept();
    first.welcome();
    await client.whenOnline();
    first.send({ type: "error", code: "PETREL_DISCONNECTED", message: "bye", action: "stop" });
    first.close(code, "why");
    expect(await closed).toEqual({
      code,
      reason: "why",
      byClient: false,
      error: { code: "PETREL_DISCONNECTED", message: "bye" },
    });
    expect(client.state).toBe("closed");
    await expect(client.whenOnline()).rejects.toMatchObject({ code: clientErrorCodes.closed });
    // Much longer than this test's backoff.
    await expect(accept(150)).rejects.toThrow("no connection");
  });

  it("1006 after an error frame: follows the error frame", async () => {
    const client = started();
    const closed = new Promise<ClosedEvent>((resolve) => client.once("closed", resolve));
    const first = await accept();
    first.welcome();
    await client.whenOnline();
    const told = new Promise((resolve) => client.once("error", resolve));
    first.send({ type: "error", code: "PETREL_DISCONNECTED", message: "bye", action: "stop" });
    await told;
    first.cut();
    expect(await closed).toMatchObject({ code: 1006, byClient: false });
  });

  it("backs off while attempts fail, and starts over after a good connection", async () => {
    const port = await freePort();
    const errors: string[] = [];
    const client = started({
      url: `ws://127.0.0.1:${port}/v1/connect`,
      timing: { backoffBaseMs: 10, backoffCapMs: 60, stableAfterMs: 1 },
    });
    client.on("error", ({ code }) => errors.push(code));
    await waitFor(() => errors.length >= 4, { what: "four refused attempts" });
    expect(new Set(errors)).toEqual(new Set([clientErrorCodes.connectFailed]));
    const late = await WsPeer.start(port);
    try {
      (await late.accept()).welcome();
      await client.whenOnline();
    } finally {
      await client.close();
      await late.close();
    }
  });

  it("tries the next address when one does not answer, and returns", async () => {
    const other = await WsPeer.start();
    try {
      started({ url: [`ws://127.0.0.1:${await freePort()}/v1/connect`, other.url, peerUrl()] });
      const first = await other.accept();
      first.welcome();
      first.cut();
      const second = await accept();
      second.welcome();
      second.cut();
      await other.accept();
    } finally {
      await closeClients();
      await other.close();
    }
  });

  it("gives up an attempt that is never answered", async () => {
    const silent = createServer(() => undefined).listen(0, "127.0.0.1");
    await once(silent, "listening");
    const { port } = silent.address() as AddressInfo;
    started({ url: [`ws://127.0.0.1:${port}/v1/connect`, peerUrl()], timing: { connectTimeoutMs: 100 } });
    await accept();
    silent.close();
  });

  it("gives up a socket that opens but is never welcomed", async () => {
    started({ timing: { connectTimeoutMs: 100 } });
    await accept();
    await accept();
  });
});

describe("asked to move", () => {
  it("connects after the announced time, resumes, and reads the old socket until then", async () => {
    const client = started();
    const states: ClientState[] = [];
    const seen: number[] = [];
    client.on("state", (state) => states.push(state));
    client.on("message", ({ seq }) => seen.push(seq));
    const first = await accept();
    first.welcome();
    await client.whenOnline();
    const askedAtMs = performance.now();
    first.send({ type: "reconnect", afterMs: 120, reason: "drain" });
    first.message(1);
    await first.next("ack");
    const second = await accept();
    expect(performance.now() - askedAtMs).toBeGreaterThan(110);
    expect(second.query.get("since")).toBe("1");
    first.message(2);
    await first.next("ack");
    second.welcome({ after: 1, resumed: true });
    second.message(2);
    second.message(3);
    expect(await second.next("ack")).toMatchObject({ type: "ack" });
    await waitFor(() => seen.length === 3, { what: "the third message" });
    expect(seen).toEqual([1, 2, 3]);
    expect(await first.closed).toMatchObject({ code: 4000 });
    expect(states).toEqual(["online"]);
    expect(acceptedCount()).toBe(2);
  });

  it("keeps its time if the old socket is closed as announced", async () => {
    const client = started({ timing: { backoffBaseMs: 1 } });
    const offline = new Promise((resolve) => client.once("offline", resolve));
    const first = await accept();
    first.welcome();
    const askedAtMs = performance.now();
    first.send({ type: "reconnect", afterMs: 200, reason: "drain" });
    first.close(1012);
    await offline;
    expect(client.state).toBe("waiting");
    await accept();
    expect(performance.now() - askedAtMs).toBeGreaterThan(190);
  });

  it("connects earlier if the old socket is lost", async () => {
    const client = started();
    const first = await accept();
    first.welcome();
    await client.whenOnline();
    first.send({ type: "reconnect", afterMs: 600_000, reason: "drain" });
    first.send({ type: "error", code: "PETREL_INTERNAL", message: "read after reconnect", action: "resume" });
    await new Promise((resolve) => client.once("error", resolve));
    first.cut();
    await accept();
  });

  it("is not stopped by its own replacement", async () => {
    const client = started();
    const first = await accept();
    first.welcome();
    await client.whenOnline();
    first.send({ type: "reconnect", afterMs: 1, reason: "drain" });
    const second = await accept();
    first.close(4409);
    await first.closed;
    second.welcome();
    await client.whenOnline();
    expect(client.state).toBe("online");
  });

  it("does not bounce back and forth without a pause", async () => {
    started({ timing: { backoffBaseMs: 500, backoffCapMs: 500 } });
    const startMs = performance.now();
    for (let moves = 0; moves < 8; moves++) {
      const socket = await accept(20_000);
      socket.welcome();
      socket.send({ type: "reconnect", afterMs: 1, reason: "drain" });
    }
    // Six waits, each uniform below 500 ms: their sum is below 150 ms once in a million runs.
    expect(performance.now() - startMs).toBeGreaterThan(150);
  });
});

describe("liveness", () => {
  it("pings, and any frame counts as a sign of life", async () => {
    const client = started();
    const socket = await accept();
    socket.welcome({ pingSeconds: 0.05 });
    for (let pings = 0; pings < 5; pings++) {
      await socket.next("ping");
      socket.send({ type: "pong" });
    }
    expect(client.state).toBe("online");
    expect(acceptedCount()).toBe(1);
  });

  it("leaves a server that stays silent for twice the interval", async () => {
    const client = started();
    const offline = new Promise((resolve) => client.once("offline", resolve));
    const first = await accept();
    first.welcome({ pingSeconds: 0.1 });
    await client.whenOnline();
    const silentSinceMs = performance.now();
    first.freeze();
    await accept();
    const silentMs = performance.now() - silentSinceMs;
    expect(silentMs).toBeGreaterThan(180);
    expect(await offline).toMatchObject({ code: 1006 });
  });
});
