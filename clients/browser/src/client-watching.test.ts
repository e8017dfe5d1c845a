// Tests what an application can see of the client, and how it says stop: states, off, debug, getToken.
// Guarantees: nothing that is shown for debugging has a token or a message's data.
import { WsPeer, type PeerSocket } from "@petrel/shared/testing/peers/ws-peer";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { WebSocket } from "ws";
import {
  clientErrorCodes,
  PetrelClient,
  SignedOutError,
  type ClosedEvent,
  type PetrelClientOptions,
  type StateChange,
} from "./client.js";

const NEVER_MS = 1_000_000;
let peer: WsPeer;
let client: PetrelClient;

beforeEach(async () => {
  peer = await WsPeer.start();
});
afterEach(async () => {
  await client.close();
  await peer.close();
});

function newClient(options: Partial<PetrelClientOptions> = {}): PetrelClient {
  client = new PetrelClient({ url: peer.url, getToken: () => "secret", WebSocket, ...options });
  return client;
}

async function welcomed(): Promise<PeerSocket> {
  client.connect();
  const socket = await peer.accept();
  socket.welcome();
  await client.whenOnline();
  return socket;
}

describe("statechange", () => {
  it("reports the previous state, the cause, the attempt's number, and when the next one comes", async () => {
    newClient({ timing: { backoffBaseMs: NEVER_MS, backoffCapMs: NEVER_MS } });
    const changes: StateChange[] = [];
    const states: string[] = [];
    client.on("statechange", (change) => changes.push(change));
    client.on("state", (state) => states.push(state));
    const socket = await welcomed();
    socket.close(1012, "deploy");
    await waitFor(() => client.state === "waiting", { what: "the wait" });
    await client.close("over");
    const reason = { code: 1012, reason: "deploy" };
    expect(changes).toEqual([
      { state: "connecting", previous: "closed", attempt: 0 },
      { state: "online", previous: "connecting", attempt: 0 },
      { state: "waiting", previous: "online", attempt: 1, reason, retryInMs: expect.any(Number) as number },
      { state: "closed", previous: "waiting", attempt: 0, reason: { code: 1000, reason: "over" } },
    ]);
    expect(changes[2]?.retryInMs).toBeGreaterThan(0);
    expect(states).toEqual(changes.map(({ state }) => state));
  });
});

describe("off", () => {
  it("removes what on and once added, one at a time", async () => {
    newClient();
    const listener = vi.fn();
    client.on("state", listener);
    client.on("state", listener);
    client.once("state", listener);
    client.off("state", listener);
    client.off("state", listener);
    client.off("state", () => undefined);
    client.off("online", listener);
    await welcomed();
    expect(listener.mock.calls).toEqual([["connecting"], ["online"]]);
    client.off("state", listener);
    await client.close();
    expect(listener).toHaveBeenCalledTimes(2);
  });
});

describe("debug", () => {
  it("logs what happens, without tokens and data", async () => {
    const told: [string, unknown][] = [];
    newClient({ debug: (what, facts) => told.push([what, facts]) });
    const got = new Promise((resolve) => client.on("message", resolve));
    const socket = await welcomed();
    socket.message(1);
    await got;
    expect(told.map(([what]) => what)).toEqual(["state", "welcome", "state", "frame"]);
    expect(told[3]?.[1]).toMatchObject({ type: "message", seq: 1 });
    expect(Object.keys(told[3]?.[1] as object)).not.toContain("data");
    expect(JSON.stringify(told)).not.toContain("secret");
  });
});

describe("getToken asks to stop", () => {
  const untilClosed = (): Promise<ClosedEvent> => new Promise((resolve) => client.once("closed", resolve));

  it("with a SignedOutError: no further attempt, and no error", async () => {
    const getToken = vi.fn(() => Promise.reject(new SignedOutError("401")));
    const errors = vi.fn();
    newClient({ getToken, timing: { backoffBaseMs: 1 } });
    client.on("error", errors);
    const closed = untilClosed();
    client.connect();
    expect(await closed).toMatchObject({
      byClient: true,
      error: { code: clientErrorCodes.signedOut, message: expect.stringContaining("401") as string },
    });
    expect([client.state, getToken.mock.calls.length, errors.mock.calls.length]).toEqual(["closed", 1, 0]);
  });

  it("reports an error without a message by its name", async () => {
    newClient({ getToken: () => Promise.reject(new SignedOutError()) });
    const closed = untilClosed();
    client.connect();
    expect((await closed).error?.message).toBe("getToken says stop: SignedOutError");
  });

  it("while online, when the token is due for renewal; connect() asks again", async () => {
    let isSignedIn = true;
    newClient({
      getToken: () => {
        if (!isSignedIn) throw Object.assign(new Error("gone"), { stop: true });
        return "secret";
      },
    });
    const socket = await welcomed();
    const closed = untilClosed();
    isSignedIn = false;
    socket.send({ type: "token_expiring", inSeconds: 30 });
    expect((await closed).error?.code).toBe(clientErrorCodes.signedOut);
    expect(await socket.closed).toMatchObject({ code: 1000 });
    isSignedIn = true;
    await welcomed();
    expect(client.state).toBe("online");
  });
});
