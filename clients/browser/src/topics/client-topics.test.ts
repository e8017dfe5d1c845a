// Tests of topics in the client, over real sockets to a scripted push node.
// Guarantees: one subscription a topic for all its handles; each message once and in order; presence, and what the server
// keeps, reach who wants them.
import { waitFor } from "@petrel/shared/testing/wait-for";
import { describe, expect, it } from "vitest";
import {
  entries,
  refuse,
  roundTrip,
  say,
  subscribed,
  useTopicPeer,
} from "../../../../test/support/clients/topic-peer.js";
import { clientErrorCodes } from "../client.js";

const { again, newClient, welcomed } = useTopicPeer();

describe("subscribing", () => {
  it("sends all topics of one turn in one frame, at most 100 in each", async () => {
    const client = newClient();
    for (let i = 0; i < 150; i++) client.subscribe(`room.${i}`, {});
    const socket = await welcomed(client);
    expect(await entries(socket, "subscribe")).toHaveLength(100);
    expect(await entries(socket, "subscribe")).toHaveLength(50);
    client.subscribe("a", {});
    client.subscribe("b", {});
    expect(await entries(socket, "subscribe")).toEqual([{ topic: "a" }, { topic: "b" }]);
  });

  it("hands a topic's messages over in order, one at a time; another topic does not wait", async () => {
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

  it("passes the message's fields", async () => {
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

  it("refuses an invalid topic name and wrong options; ignores an invalid position", async () => {
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

  it("adds a later handle without a request to the server, from the newest message on", async () => {
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

  it("rewinds for a handle that starts earlier; the others see nothing twice", async () => {
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

  it("starts at the oldest kept message if asked to", async () => {
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

  it("misses no first message of a topic that was empty when its position was read", async () => {
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

  it("asks again if no answer comes", async () => {
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

describe("presence", () => {
  it("is requested by whoever listens, switched on and off, and the newest value is known", async () => {
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

describe("a topic the server keeps", () => {
  it("reaches `topic` listeners, is resumed after a reconnect, and ends when the server says so", async () => {
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

  it("reaches a handle if there is one", async () => {
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

  it("is known from the answer if both say `subscribed`", async () => {
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
