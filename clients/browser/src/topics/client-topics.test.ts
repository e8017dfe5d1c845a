// Tests of topics in the client, over real sockets to a scripted push node.
// Guarantees: one subscription a topic for all its handles, recovered after a reconnect; each message once and in order; a
// loss, a refusal and a failed handler are told.
import { waitFor } from "@petrel/shared/testing/wait-for";
import { WsPeer, type PeerFrame, type PeerSocket } from "@petrel/shared/testing/peers/ws-peer";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { WebSocket } from "ws";
import {
  clientErrorCodes,
  PetrelClient,
  type PetrelClientError,
  type PetrelClientOptions,
  type TopicLost,
  type TopicMessage,
} from "../client.js";

let peer: WsPeer;
let clients: PetrelClient[];
let toConsole: { level: string; error: PetrelClientError }[];

beforeEach(async () => {
  peer = await WsPeer.start();
  clients = [];
  toConsole = [];
  for (const level of ["error", "warn"] as const) {
    vi.spyOn(console, level).mockImplementation((error: PetrelClientError) => {
      toConsole.push({ level, error });
    });
  }
});

afterEach(async () => {
  await Promise.all(clients.map((client) => client.close()));
  await peer.close();
  vi.restoreAllMocks();
});

function newClient(options: Partial<PetrelClientOptions> = {}): PetrelClient {
  const client = new PetrelClient({
    url: peer.url,
    getToken: () => "token",
    WebSocket,
    ...options,
    timing: { backoffBaseMs: 20, backoffCapMs: 100, ...options.timing },
  });
  clients.push(client);
  return client;
}

const features = ["ack", "resume", "topics", "publish"];

async function welcomed(client: PetrelClient, fields: PeerFrame = {}): Promise<PeerSocket> {
  client.connect();
  const socket = await peer.accept();
  socket.welcome({ features, ...fields });
  return socket;
}

async function again(): Promise<PeerSocket> {
  const socket = await peer.accept();
  socket.welcome({ features });
  return socket;
}

/** The entries of the next frame of this type. */
async function entries(socket: PeerSocket, type: "subscribe" | "unsubscribe"): Promise<unknown> {
  return (await socket.next(type))["topics"];
}

function subscribed(socket: PeerSocket, topic: string, offset: number, fields: PeerFrame = {}): void {
  const frame = { type: "subscribed", topic, epoch: "t1", offset, oldest: 1, recovered: false };
  socket.send({ ...frame, ...fields });
}

function say(socket: PeerSocket, topic: string, offset: number, fields: PeerFrame = {}): void {
  const at = "2030-01-01T00:00:00.000Z";
  socket.send({ type: "message", topic, id: `m${offset}`, offset, at, data: offset, ...fields });
}

/** What the client has to say to all that was sent before is here when this returns. */
async function roundTrip(client: PetrelClient, socket: PeerSocket): Promise<void> {
  const seen = new Promise((resolve) => client.once("error", resolve));
  socket.send({ type: "error", code: "PETREL_MARK", message: "mark", action: "none", on: "nothing" });
  await seen;
}

function refuse(socket: PeerSocket, on: string, ref: string, code: string, action = "stop"): void {
  socket.send({ type: "error", code, message: "no", action, ref, on });
}

describe("subscribing", () => {
  it("says all topics of one turn in one frame, at most 100 in each", async () => {
    const client = newClient();
    for (let i = 0; i < 150; i++) client.subscribe(`room.${i}`, {});
    const socket = await welcomed(client);
    expect(await entries(socket, "subscribe")).toHaveLength(100);
    expect(await entries(socket, "subscribe")).toHaveLength(50);
    client.subscribe("a", {});
    client.subscribe("b", {});
    expect(await entries(socket, "subscribe")).toEqual([{ topic: "a" }, { topic: "b" }]);
  });

  it("hands a topic's messages over in order, one after the other; another topic does not wait", async () => {
    const client = newClient();
    const log: string[] = [];
    let finish: (() => void) | undefined;
    client.subscribe("slow", {
      onSubscribed: ({ offset }) => log.push(`slow from ${offset}`),
      onMessage: async ({ offset }) => {
        log.push(`slow ${offset}`);
        if (offset === 4) await new Promise<void>((resolve) => (finish = resolve));
      },
    });
    const handle = client.subscribe("fast", { onMessage: ({ offset }) => log.push(`fast ${offset}`) });
    expect([handle.state, handle.position]).toEqual(["subscribing", undefined]);
    const socket = await welcomed(client);
    subscribed(socket, "slow", 3);
    subscribed(socket, "fast", 0);
    for (const offset of [4, 5]) say(socket, "slow", offset);
    say(socket, "fast", 1);
    await waitFor(() => log.includes("fast 1") && finish, { what: "both" });
    expect(log).toEqual(expect.arrayContaining(["slow from 3", "slow 4", "fast 1"]));
    expect(log).not.toContain("slow 5");
    finish?.();
    await waitFor(() => log.includes("slow 5"), { what: "the next one" });
    expect([handle.state, handle.position]).toEqual(["subscribed", { epoch: "t1", offset: 1 }]);
  });

  it("gives the message's fields", async () => {
    const client = newClient();
    const received = new Promise((resolve) => client.subscribe("room.1", { onMessage: resolve }));
    const socket = await welcomed(client);
    subscribed(socket, "room.1", 6);
    say(socket, "room.1", 7, { from: "bob", data: { a: [1] } });
    expect(await received).toEqual({
      topic: "room.1",
      id: "m7",
      epoch: "t1",
      offset: 7,
      at: "2030-01-01T00:00:00.000Z",
      from: "bob",
      data: { a: [1] },
    });
  });

  it("refuses a name that no topic can have, and wrong options; a position that is none it leaves out", async () => {
    const client = newClient();
    for (const name of ["", "a b", "room.*x/", "x".repeat(129), undefined]) {
      expect(() => client.subscribe(name as string, {})).toThrow(TypeError);
    }
    expect(() => client.subscribe("a", undefined as never)).toThrow(TypeError);
    expect(() => client.subscribe("a", { onMessage: "x" } as never)).toThrow(TypeError);
    expect(() => client.subscribe("a", { onMesage: () => undefined } as never)).toThrow("onMesage");
    expect(() => client.onBroadcast(undefined as never)).toThrow(TypeError);
    const errors: string[] = [];
    client.on("error", ({ code }) => errors.push(code));
    client.subscribe("a", { from: { epoch: "t1", offset: "4" } as never });
    const socket = await welcomed(client);
    expect(await entries(socket, "subscribe")).toEqual([{ topic: "a" }]);
    expect(errors).toEqual([clientErrorCodes.badOption]);
  });

  it("ends with the last handle, and not before", async () => {
    const client = newClient();
    const seen: number[] = [];
    const first = client.subscribe("room.1", { onMessage: ({ offset }) => seen.push(offset) });
    const second = client.subscribe("room.1", { onMessage: ({ offset }) => seen.push(offset * 10) });
    const socket = await welcomed(client);
    expect(await entries(socket, "subscribe")).toEqual([{ topic: "room.1" }]);
    subscribed(socket, "room.1", 0);
    say(socket, "room.1", 1);
    await waitFor(() => seen.length === 2, { what: "both" });
    first.unsubscribe();
    say(socket, "room.1", 2);
    await waitFor(() => seen.length === 3, { what: "the other one" });
    second.unsubscribe();
    expect(await entries(socket, "unsubscribe")).toEqual([{ topic: "room.1" }]);
    expect(socket.frames.filter(({ type }) => type === "unsubscribe")).toHaveLength(1);
    say(socket, "room.1", 3);
    socket.send({ type: "unsubscribed", topic: "room.1" });
    await roundTrip(client, socket);
    expect([seen, first.state, second.state]).toEqual([[1, 10, 20], "closed", "closed"]);
    // And a new one is asked for anew.
    client.subscribe("room.1", {});
    expect(await entries(socket, "subscribe")).toEqual([{ topic: "room.1" }]);
  });

  it("takes a later handle in without a word to the server, from the newest message on", async () => {
    const client = newClient();
    client.subscribe("room.1", {});
    const socket = await welcomed(client);
    subscribed(socket, "room.1", 2);
    say(socket, "room.1", 3);
    await roundTrip(client, socket);
    const seen: unknown[] = [];
    const late = client.subscribe("room.1", {
      onSubscribed: ({ offset }) => seen.push(`from ${offset}`),
      onMessage: ({ offset }) => seen.push(offset),
    });
    expect(late.state).toBe("subscribed");
    say(socket, "room.1", 4);
    await waitFor(() => seen.length === 2, { what: "the next message" });
    expect(seen).toEqual(["from 3", 4]);
    expect(socket.frames.filter(({ type }) => type === "subscribe")).toHaveLength(1);
  });

  it("goes back for a handle that starts earlier; the others see nothing twice", async () => {
    const client = newClient();
    const first: number[] = [];
    client.subscribe("room.1", { onMessage: ({ offset }) => first.push(offset) });
    const socket = await welcomed(client);
    await socket.next("subscribe");
    subscribed(socket, "room.1", 5);
    say(socket, "room.1", 6);
    await waitFor(() => first.length === 1, { what: "the first" });
    const second: number[] = [];
    client.subscribe("room.1", {
      from: { epoch: "t1", offset: 4 },
      onMessage: ({ offset }) => second.push(offset),
    });
    expect(await entries(socket, "subscribe")).toEqual([{ topic: "room.1", epoch: "t1", offset: 4 }]);
    // What comes meanwhile is for those who have all before it.
    say(socket, "room.1", 7);
    subscribed(socket, "room.1", 7, { recovered: true });
    for (const offset of [5, 6, 7, 8]) say(socket, "room.1", offset);
    await waitFor(() => second.length === 4, { what: "the second" });
    expect([first, second]).toEqual([
      [6, 7, 8],
      [5, 6, 7, 8],
    ]);
  });

  it("starts at the oldest that is kept, where it is asked to", async () => {
    const client = newClient();
    const seen: number[] = [];
    client.subscribe("room.1", { from: "oldest", onMessage: ({ offset }) => seen.push(offset) });
    const socket = await welcomed(client);
    expect(await entries(socket, "subscribe")).toEqual([{ topic: "room.1" }]);
    subscribed(socket, "room.1", 9, { oldest: 8 });
    expect(await entries(socket, "subscribe")).toEqual([{ topic: "room.1", epoch: "t1", offset: 7 }]);
    subscribed(socket, "room.1", 9, { oldest: 8, recovered: true });
    for (const offset of [8, 9]) say(socket, "room.1", offset);
    await waitFor(() => seen.length === 2, { what: "the history" });
    expect(seen).toEqual([8, 9]);
  });

  it("misses no first message of a topic that had none when its position was read", async () => {
    const client = newClient();
    const seen: number[] = [];
    client.subscribe("room.1", {
      from: { epoch: null, offset: 0 },
      onMessage: ({ offset }) => seen.push(offset),
    });
    const socket = await welcomed(client);
    expect(await entries(socket, "subscribe")).toEqual([{ topic: "room.1" }]);
    subscribed(socket, "room.1", 1);
    expect(await entries(socket, "subscribe")).toEqual([{ topic: "room.1", epoch: "t1", offset: 0 }]);
    subscribed(socket, "room.1", 1, { recovered: true });
    say(socket, "room.1", 1);
    await waitFor(() => seen.length === 1, { what: "the message" });
  });

  it("asks again where no answer comes", async () => {
    const client = newClient({ timing: { subscribeTimeoutMs: 20 } });
    client.subscribe("room.1", {});
    const socket = await welcomed(client);
    await socket.next("subscribe");
    // An answer to the first question could be taken for one to the next: this one can't, and comes behind it.
    await socket.next("unsubscribe");
    socket.send({ type: "unsubscribed", topic: "room.1" });
    expect(await entries(socket, "subscribe")).toEqual([{ topic: "room.1" }]);
  });
});

describe("after a reconnect", () => {
  it("goes on behind what was received, once", async () => {
    const client = newClient();
    const seen: number[] = [];
    const told: unknown[] = [];
    client.subscribe("room.1", {
      onMessage: ({ offset }) => seen.push(offset),
      onSubscribed: ({ recovered }) => told.push(recovered),
      onLost: (lost) => told.push(lost),
    });
    client.subscribe("unused", {});
    const first = await welcomed(client);
    subscribed(first, "room.1", 3);
    for (const offset of [4, 5]) say(first, "room.1", offset);
    await waitFor(() => seen.length === 2, { what: "the messages" });
    first.cut();
    const second = await again();
    expect(await entries(second, "subscribe")).toEqual([
      { topic: "room.1", epoch: "t1", offset: 5 },
      { topic: "unused" },
    ]);
    subscribed(second, "room.1", 7, { recovered: true });
    for (const offset of [5, 6, 7, 8]) say(second, "room.1", offset);
    await waitFor(() => seen.length === 5, { what: "the rest" });
    expect([seen, told]).toEqual([
      [4, 5, 6, 7, 8],
      [false, true],
    ]);
  });

  it("goes on across an epoch where the server can, under the new one", async () => {
    const client = newClient();
    const seen: string[] = [];
    const handle = client.subscribe("room.1", {
      onMessage: ({ epoch, offset }) => seen.push(`${epoch}/${offset}`),
    });
    const first = await welcomed(client);
    subscribed(first, "room.1", 3);
    say(first, "room.1", 4);
    await waitFor(() => seen.length === 1, { what: "the message" });
    first.cut();
    const second = await again();
    subscribed(second, "room.1", 5, { epoch: "t2", recovered: true });
    say(second, "room.1", 5);
    await waitFor(() => seen.length === 2, { what: "the next" });
    expect([seen, handle.position]).toEqual([["t1/4", "t2/5"], { epoch: "t2", offset: 5 }]);
  });

  it.each([
    ["was trimmed", { offset: 30, oldest: 20 }, "t1"],
    ["is of an epoch that is over", { offset: 30, epoch: "t2" }, "t2"],
    ["is beyond the newest", { offset: 2 }, "t1"],
  ])("tells of a loss where its position %s, in its place, and goes on", async (_what, fields, epoch) => {
    const client = newClient();
    const seen: unknown[] = [];
    let finish: (() => void) | undefined;
    client.subscribe("room.1", {
      onMessage: async ({ offset }) => {
        seen.push(offset);
        if (offset === 4) await new Promise<void>((resolve) => (finish = resolve));
      },
      onLost: (lost) => seen.push(lost),
    });
    const first = await welcomed(client);
    subscribed(first, "room.1", 3);
    say(first, "room.1", 4);
    await waitFor(() => finish, { what: "the handler" });
    first.cut();
    const second = await again();
    await second.next("subscribe");
    subscribed(second, "room.1", 0, fields);
    say(second, "room.1", fields.offset + 1);
    await roundTrip(client, second);
    // Behind the handler that runs.
    expect(seen).toEqual([4]);
    finish?.();
    await waitFor(() => seen.length === 3, { what: "the next" });
    const lost: TopicLost = {
      topic: "room.1",
      after: { epoch: "t1", offset: 4 },
      position: { epoch, offset: fields.offset },
      oldest: "oldest" in fields ? fields.oldest : 1,
    };
    expect(seen).toEqual([4, lost, fields.offset + 1]);
  });

  it("a loss that nobody listens for is an error, and on the console", async () => {
    const client = newClient();
    client.subscribe("room.1", {});
    let socket = await welcomed(client);
    subscribed(socket, "room.1", 3);
    const heard: PetrelClientError[] = [];
    for (const count of [1, 2]) {
      socket.cut();
      socket = await again();
      await socket.next("subscribe");
      subscribed(socket, "room.1", 50 * count, { oldest: 40 * count });
      await waitFor(() => toConsole.length + heard.length === count, { what: "the loss" });
      client.on("error", (error) => heard.push(error));
    }
    for (const error of [toConsole[0]?.error, heard[0]]) {
      expect(error).toMatchObject({ code: clientErrorCodes.topicLost, topic: "room.1" });
    }
  });

  it("starts with what is new where it is not to recover, and tells of no loss", async () => {
    const client = newClient();
    const seen: number[] = [];
    client.subscribe("room.1", { recover: false, onMessage: ({ offset }) => seen.push(offset) });
    const first = await welcomed(client);
    subscribed(first, "room.1", 3);
    say(first, "room.1", 4);
    await waitFor(() => seen.length === 1, { what: "the message" });
    first.cut();
    const second = await again();
    expect(await entries(second, "subscribe")).toEqual([{ topic: "room.1" }]);
    subscribed(second, "room.1", 50, { oldest: 40 });
    say(second, "room.1", 51);
    await waitFor(() => seen.length === 2, { what: "the next" });
    expect([seen, toConsole]).toEqual([[4, 51], []]);
  });

  it("resumes where it is moved to, without a gap between the two", async () => {
    const client = newClient();
    const seen: number[] = [];
    client.subscribe("room.1", { onMessage: ({ offset }) => seen.push(offset) });
    const first = await welcomed(client);
    subscribed(first, "room.1", 0);
    first.send({ type: "reconnect", afterMs: 1, reason: "drain" });
    const second = await peer.accept();
    say(first, "room.1", 1);
    await waitFor(() => seen.length === 1, { what: "a message on the old one" });
    second.welcome({ features });
    expect(await entries(second, "subscribe")).toEqual([{ topic: "room.1", epoch: "t1", offset: 1 }]);
    await first.closed;
    subscribed(second, "room.1", 2, { recovered: true });
    say(second, "room.1", 2);
    await waitFor(() => seen.length === 2, { what: "a message on the new one" });
    expect(seen).toEqual([1, 2]);
  });

  it("a client that was closed goes on, when it connects again, behind what was handled", async () => {
    const client = newClient({ timing: { closeGraceMs: 1 } });
    const seen: number[] = [];
    let finish: (() => void) | undefined;
    client.subscribe("room.1", {
      onMessage: ({ offset }) => {
        seen.push(offset);
        return offset === 4 ? new Promise<void>((resolve) => (finish = resolve)) : undefined;
      },
    });
    const first = await welcomed(client);
    subscribed(first, "room.1", 3);
    for (const offset of [4, 5, 6]) say(first, "room.1", offset);
    await waitFor(() => finish, { what: "the handler" });
    await roundTrip(client, first);
    await client.close();
    finish?.();
    const second = await welcomed(client);
    // 4 was begun, 5 and 6 were not.
    expect(await entries(second, "subscribe")).toEqual([{ topic: "room.1", epoch: "t1", offset: 4 }]);
    subscribed(second, "room.1", 6, { recovered: true });
    for (const offset of [5, 6]) say(second, "room.1", offset);
    await waitFor(() => seen.length === 3, { what: "the rest" });
    expect(seen).toEqual([4, 5, 6]);
  });

  it("a crowd of waiting messages is left with the server until there is room", async () => {
    const client = newClient();
    let release: (() => void) | undefined;
    let handled = 0;
    client.subscribe("room.1", {
      onMessage: () => {
        handled++;
        return release === undefined ? new Promise<void>((resolve) => (release = resolve)) : undefined;
      },
    });
    const socket = await welcomed(client);
    await socket.next("subscribe");
    subscribed(socket, "room.1", 0);
    for (let offset = 1; offset <= 10_050; offset++) say(socket, "room.1", offset);
    await roundTrip(client, socket);
    release?.();
    // One runs and 10,000 wait.
    expect(await entries(socket, "subscribe")).toEqual([{ topic: "room.1", epoch: "t1", offset: 10_001 }]);
    subscribed(socket, "room.1", 10_050, { recovered: true });
    for (let offset = 10_002; offset <= 10_050; offset++) say(socket, "room.1", offset);
    await waitFor(() => handled === 10_050, { what: "all of them" });
  });
});

describe("a refusal", () => {
  it("reaches the handle and nothing else; the next connection asks again", async () => {
    const client = newClient();
    const refusals: string[] = [];
    const clientErrors: string[] = [];
    client.on("error", ({ code }) => clientErrors.push(code));
    const handle = client.subscribe("token", { onError: ({ code }) => refusals.push(code) });
    const other = client.subscribe("other", {});
    const socket = await welcomed(client);
    await socket.next("subscribe");
    // Not to be taken for a word about the token, whatever the topic is called.
    refuse(socket, "subscribe", "token", "PETREL_FORBIDDEN");
    subscribed(socket, "other", 0);
    await waitFor(() => other.state === "subscribed", { what: "the other" });
    expect([handle.state, handle.error?.code, refusals]).toEqual([
      "refused",
      "PETREL_FORBIDDEN",
      ["PETREL_FORBIDDEN"],
    ]);
    expect([client.state, clientErrors]).toEqual(["online", []]);
    socket.cut();
    const next = await again();
    expect(await entries(next, "subscribe")).toMatchObject([{ topic: "token" }, { topic: "other" }]);
    refuse(next, "subscribe", "token", "PETREL_FORBIDDEN");
    await waitFor(() => handle.state === "refused", { what: "the refusal" });
    // The same is told once.
    expect(refusals).toHaveLength(1);
    // A fresh token may allow it.
    next.send({ type: "token_accepted", expiresIn: 60 });
    expect(await entries(next, "subscribe")).toEqual([{ topic: "token" }]);
    subscribed(next, "token", 0);
    await waitFor(() => handle.state === "subscribed" && handle.error === undefined, { what: "the pardon" });
  });

  it("without onError is an error of the client", async () => {
    const client = newClient();
    const errors: PetrelClientError[] = [];
    client.on("error", (error) => errors.push(error));
    client.subscribe("room.1", {});
    const socket = await welcomed(client);
    await socket.next("subscribe");
    refuse(socket, "subscribe", "room.1", "PETREL_TOO_MANY_TOPICS");
    await waitFor(() => errors.length === 1, { what: "the error" });
    expect(errors[0]).toMatchObject({ code: "PETREL_TOO_MANY_TOPICS", topic: "room.1", retryable: false });
  });

  it("that is for now is asked again later, on the same connection", async () => {
    const client = newClient();
    const handle = client.subscribe("room.1", { onError: () => undefined });
    const socket = await welcomed(client);
    await socket.next("subscribe");
    refuse(socket, "subscribe", "room.1", "PETREL_UNAVAILABLE", "backoff");
    await socket.next("subscribe");
    expect(handle.state).toBe("subscribing");
  });

  it("of a fresh token that no longer covers a topic ends its subscription", async () => {
    const client = newClient();
    const codes: string[] = [];
    const handle = client.subscribe("room.1", { onError: ({ code }) => codes.push(code) });
    const socket = await welcomed(client);
    await socket.next("subscribe");
    subscribed(socket, "room.1", 3);
    socket.send({ type: "unsubscribed", topic: "room.1", reason: "forbidden" });
    await waitFor(() => handle.state === "refused", { what: "the end" });
    expect([codes, socket.untaken]).toEqual([["PETREL_FORBIDDEN"], []]);
  });

  it("of presence leaves those who can do without it", async () => {
    const client = newClient();
    const curious = client.subscribe("room.1", { presence: true, onError: () => undefined });
    const plain = client.subscribe("room.1", {});
    const socket = await welcomed(client);
    expect(await entries(socket, "subscribe")).toEqual([{ topic: "room.1", presence: true }]);
    refuse(socket, "subscribe", "room.1", "PETREL_FORBIDDEN");
    expect(await entries(socket, "subscribe")).toEqual([{ topic: "room.1" }]);
    subscribed(socket, "room.1", 0);
    await waitFor(() => plain.state === "subscribed", { what: "the plain one" });
    expect(curious.state).toBe("refused");
  });

  it("by a node of the release before costs nothing but time", async () => {
    const client = newClient({ timing: { publishTimeoutMs: 20_000 } });
    const handle = client.subscribe("room.1", { onError: () => undefined });
    const old = await welcomed(client, { features: ["ack", "resume"] });
    const published = client.publish("room.1", 1);
    await waitFor(() => handle.state === "refused", { what: "the refusal" });
    expect(handle.error).toMatchObject({ code: "PETREL_NOT_IMPLEMENTED", retryable: true });
    await roundTrip(client, old);
    // Such a node closes with 4400 for a frame that it does not know, and the client would stop.
    expect(old.frames).toEqual([]);
    old.close(1012);
    const next = await again();
    await next.next("subscribe");
    const { ref } = await next.next("publish");
    next.send({
      type: "published",
      ref,
      id: "m1",
      topic: "room.1",
      epoch: "t1",
      offset: 1,
      duplicate: false,
    });
    await published;
  });
});

describe("presence", () => {
  it("is asked for by who listens, switched on and off, and the newest is known", async () => {
    const client = newClient();
    client.subscribe("room.1", {});
    const socket = await welcomed(client);
    expect(await entries(socket, "subscribe")).toEqual([{ topic: "room.1" }]);
    subscribed(socket, "room.1", 3);
    await roundTrip(client, socket);
    const seen: unknown[] = [];
    const curious = client.subscribe("room.1", { onPresence: ({ users, here }) => seen.push([users, here]) });
    expect(await entries(socket, "subscribe")).toEqual([
      { topic: "room.1", epoch: "t1", offset: 3, presence: true },
    ]);
    subscribed(socket, "room.1", 3, { recovered: true });
    const presence = { type: "presence", topic: "room.1" };
    socket.send({ ...presence, users: 2, connections: 3, here: ["ann", "bob"] });
    await waitFor(() => seen.length === 1, { what: "presence" });
    expect(curious.presence).toEqual({ topic: "room.1", users: 2, connections: 3, here: ["ann", "bob"] });
    const late = client.subscribe("room.1", { onPresence: ({ users }) => seen.push(`late ${users}`) });
    expect(seen).toEqual([[2, ["ann", "bob"]], "late 2"]);
    curious.unsubscribe();
    late.unsubscribe();
    expect(await entries(socket, "subscribe")).toEqual([
      { topic: "room.1", epoch: "t1", offset: 3, presence: false },
    ]);
  });
});

describe("what the server keeps", () => {
  it("comes to `topic` listeners, is resumed after a reconnect, and ends with the server's word", async () => {
    const client = newClient();
    const seen: unknown[] = [];
    client.on("topic", ({ topic, offset, data }) => seen.push([topic, offset, data]));
    const first = await welcomed(client);
    subscribed(first, "news", 4);
    say(first, "news", 5);
    await waitFor(() => seen.length === 1, { what: "the news" });
    expect(seen).toEqual([["news", 5, 5]]);
    expect(first.frames).toEqual([]);
    first.cut();
    const second = await again();
    subscribed(second, "news", 7);
    // Asked for what was missed; and the subscription stays the server's.
    expect(await entries(second, "subscribe")).toEqual([{ topic: "news", epoch: "t1", offset: 5 }]);
    subscribed(second, "news", 7, { recovered: true });
    for (const offset of [6, 7, 8]) say(second, "news", offset);
    expect(await entries(second, "unsubscribe")).toEqual([{ topic: "news" }]);
    refuse(second, "unsubscribe", "news", "PETREL_CONFLICT", "none");
    say(second, "news", 9);
    await waitFor(() => seen.length === 5, { what: "the rest" });
    second.send({ type: "unsubscribed", topic: "news", reason: "removed" });
    say(second, "news", 10);
    await roundTrip(client, second);
    expect(seen.map((one) => (one as number[])[1])).toEqual([5, 6, 7, 8, 9]);
  });

  it("comes to a handle where there is one", async () => {
    const client = newClient();
    const toListeners: number[] = [];
    const toHandle: number[] = [];
    client.on("topic", ({ offset }) => toListeners.push(offset));
    const socket = await welcomed(client);
    subscribed(socket, "news", 4);
    say(socket, "news", 5);
    await waitFor(() => toListeners.length === 1, { what: "the first" });
    const handle = client.subscribe("news", { onMessage: ({ offset }) => toHandle.push(offset) });
    say(socket, "news", 6);
    await waitFor(() => toHandle.length === 1, { what: "the second" });
    handle.unsubscribe();
    say(socket, "news", 7);
    await waitFor(() => toListeners.length === 2, { what: "the third" });
    expect([toListeners, toHandle]).toEqual([[5, 7], [6]]);
  });

  it("is known from an answer where both say `subscribed`", async () => {
    const client = newClient();
    const seen: unknown[] = [];
    client.subscribe("news", {
      from: { epoch: "t1", offset: 5 },
      onMessage: ({ offset }) => seen.push(offset),
      onLost: () => seen.push("lost"),
    });
    const socket = await welcomed(client);
    await socket.next("subscribe");
    // Unasked, at the newest; its messages go on from there.
    subscribed(socket, "news", 7);
    say(socket, "news", 8);
    // The answer.
    subscribed(socket, "news", 8, { recovered: true });
    for (const offset of [6, 7, 8, 9]) say(socket, "news", offset);
    await waitFor(() => seen.length === 4, { what: "all" });
    expect(seen).toEqual([6, 7, 8, 9]);
  });
});

describe("the broadcast", () => {
  it("comes to its listeners, and is resumed in the address", async () => {
    const client = newClient();
    const seen: TopicMessage[] = [];
    const off = client.onBroadcast((message) => seen.push(message));
    const first = await welcomed(client);
    expect(first.query.get("all")).toBeNull();
    subscribed(first, "$all", 10);
    say(first, "$all", 11);
    await waitFor(() => seen.length === 1, { what: "the broadcast" });
    first.cut();
    const second = await again();
    expect(second.query.get("all")).toBe("t1:11");
    subscribed(second, "$all", 12, { recovered: true });
    for (const offset of [12, 13]) say(second, "$all", offset);
    await waitFor(() => seen.length === 3, { what: "the rest" });
    expect(seen.map(({ offset }) => offset)).toEqual([11, 12, 13]);
    // Nothing was said: every connection has it, and keeps it.
    off();
    await roundTrip(client, second);
    expect([first.frames, second.frames]).toEqual([[], []]);
  });

  it("tells of a loss", async () => {
    const client = newClient();
    const lost: unknown[] = [];
    client.subscribe("$all", { from: { epoch: "t1", offset: 3 }, onLost: (one) => lost.push(one) });
    const socket = await welcomed(client);
    expect(socket.query.get("all")).toBe("t1:3");
    subscribed(socket, "$all", 9, { oldest: 8 });
    await waitFor(() => lost.length === 1, { what: "the loss" });
  });
});

describe("getState", () => {
  it("joins state and messages without a hole, and is asked again after a loss", async () => {
    const client = newClient();
    const log: unknown[] = [];
    let asked = 0;
    client.subscribe<number, string>("room.1", {
      getState: async () => ({ state: `state ${++asked}`, position: { epoch: "t1", offset: asked * 10 } }),
      onState: (state, { offset }) => log.push(`${state} at ${offset}`),
      onMessage: ({ offset }) => log.push(offset),
    });
    expect(asked).toBe(0);
    const first = await welcomed(client);
    expect(await entries(first, "subscribe")).toEqual([{ topic: "room.1", epoch: "t1", offset: 10 }]);
    expect(log).toEqual([]);
    subscribed(first, "room.1", 12, { recovered: true });
    for (const offset of [11, 12]) say(first, "room.1", offset);
    await waitFor(() => log.length === 3, { what: "state and messages" });
    first.cut();
    const second = await again();
    // What was received is not asked for again.
    expect(await entries(second, "subscribe")).toEqual([{ topic: "room.1", epoch: "t1", offset: 12 }]);
    subscribed(second, "room.1", 30, { oldest: 19 });
    expect(await entries(second, "subscribe")).toEqual([{ topic: "room.1", epoch: "t1", offset: 20 }]);
    subscribed(second, "room.1", 31, { oldest: 19, recovered: true });
    say(second, "room.1", 21);
    await waitFor(() => log.length === 5, { what: "the second state" });
    expect(log).toEqual(["state 1 at 10", 11, 12, "state 2 at 20", 21]);
    expect(toConsole).toEqual([]);
  });

  it("that fails, never ends or has no position is told of and asked again", async () => {
    const client = newClient({ timing: { stateTimeoutMs: 30 } });
    const errors: string[] = [];
    client.on("error", ({ code, topic }) => errors.push(`${code} ${topic}`));
    let asked = 0;
    client.subscribe("room.1", {
      getState: () => {
        asked++;
        if (asked === 1) throw new Error("no");
        if (asked === 2) return new Promise<never>(() => undefined);
        return { state: 1, position: (asked === 3 ? { offset: "x" } : { epoch: null, offset: 0 }) as never };
      },
    });
    const socket = await welcomed(client);
    expect(await entries(socket, "subscribe")).toEqual([{ topic: "room.1" }]);
    expect([asked, errors]).toEqual([4, Array(3).fill(`${clientErrorCodes.stateFailed} room.1`)]);
  }, 30_000);

  it("whose position the history does not reach is told of and asked again", async () => {
    const client = newClient();
    const errors: string[] = [];
    client.on("error", ({ code }) => errors.push(code));
    client.subscribe("room.1", {
      getState: () => ({ state: 1, position: { epoch: "t1", offset: 1 } }),
    });
    const socket = await welcomed(client);
    await socket.next("subscribe");
    subscribed(socket, "room.1", 30, { oldest: 19 });
    await socket.next("subscribe");
    expect(errors).toEqual([clientErrorCodes.stateFailed]);
  });
});

describe("a topic's handler", () => {
  it("that throws is told of and counts as done; one that does not finish is warned of", async () => {
    const client = newClient({ timing: { handlerWarningMs: 20 } });
    const told: unknown[] = [];
    client.on("error", ({ code, messageId }) => told.push([code, messageId]));
    client.on("warning", ({ code, messageId }) => told.push([code, messageId]));
    let finish: (() => void) | undefined;
    const handle = client.subscribe("room.1", {
      onMessage: ({ offset }) => {
        if (offset === 1) throw new Error("no");
        if (offset === 2) return new Promise<void>((resolve) => (finish = resolve));
        return undefined;
      },
    });
    const socket = await welcomed(client);
    subscribed(socket, "room.1", 0);
    for (const offset of [1, 2, 3]) say(socket, "room.1", offset);
    await waitFor(() => told.length === 2, { what: "both" });
    expect(told).toEqual([
      [clientErrorCodes.handlerFailed, "m1"],
      [clientErrorCodes.handlerSlow, "m2"],
    ]);
    expect(handle.position).toEqual({ epoch: "t1", offset: 1 });
    finish?.();
    await waitFor(() => handle.position?.offset === 3, { what: "the rest" });
  });

  it("of another callback that throws is told of too", async () => {
    const client = newClient();
    const errors: string[] = [];
    client.on("error", ({ code }) => errors.push(code));
    const fail = (): never => {
      throw new Error("no");
    };
    client.subscribe("room.1", { onSubscribed: fail, onPresence: fail });
    client.subscribe("room.2", { onError: () => Promise.reject(new Error("no")) });
    const socket = await welcomed(client);
    await socket.next("subscribe");
    subscribed(socket, "room.1", 0);
    socket.send({ type: "presence", topic: "room.1", users: 1, connections: 1 });
    refuse(socket, "subscribe", "room.2", "PETREL_FORBIDDEN");
    await waitFor(() => errors.length === 3, { what: "the errors" });
    expect(errors.sort()).toEqual([
      clientErrorCodes.handlerFailed,
      clientErrorCodes.listenerFailed,
      clientErrorCodes.listenerFailed,
    ]);
  });
});
