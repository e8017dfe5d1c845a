// Tests of topics after a reconnect, over real sockets to a scripted push node.
// Guarantees: what was missed comes, once and in order, or its loss is told; a state and the messages after it join
// without a hole.
import { waitFor } from "@petrel/shared/testing/wait-for";
import { describe, expect, it } from "vitest";
import {
  entries,
  roundTrip,
  say,
  subscribed,
  useTopicPeer,
} from "../../../../test/support/clients/topic-peer.js";
import { clientErrorCodes, type PetrelClientError, type TopicLost, type TopicMessage } from "../client.js";

const { accept, again, newClient, toConsole, welcomed } = useTopicPeer();

describe("after a reconnect", () => {
  it("continues after what was received, once", async () => {
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

  it("continues across an epoch if the server can, under the new one", async () => {
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
    ["is of an earlier epoch", { offset: 30, epoch: "t2" }, "t2"],
    ["is beyond the newest", { offset: 2 }, "t1"],
  ])("reports a loss if its position %s, in order, and goes on", async (_what, fields, epoch) => {
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

  it("a loss without a listener is reported as an error, and on the console", async () => {
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

  it("starts with new messages if it should not recover, and reports no loss", async () => {
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

  it("resumes on the node it moves to, without a gap", async () => {
    const client = newClient();
    const seen: number[] = [];
    client.subscribe("room.1", { onMessage: ({ offset }) => seen.push(offset) });
    const first = await welcomed(client);
    subscribed(first, "room.1", 0);
    first.send({ type: "reconnect", afterMs: 1, reason: "drain" });
    const second = await accept();
    say(first, "room.1", 1);
    await waitFor(() => seen.length === 1, { what: "a message on the old one" });
    second.welcome({ features: ["ack", "resume", "topics", "publish"] });
    expect(await entries(second, "subscribe")).toEqual([{ topic: "room.1", epoch: "t1", offset: 1 }]);
    await first.closed;
    subscribed(second, "room.1", 2, { recovered: true });
    say(second, "room.1", 2);
    await waitFor(() => seen.length === 2, { what: "a message on the new one" });
    expect(seen).toEqual([1, 2]);
  });

  it("a client that was closed resumes after the last handled message when it connects again", async () => {
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

  it("leaves a crowd of waiting messages with the server until there is room", async () => {
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

describe("the broadcast", () => {
  it("reaches its listeners, and is resumed through the address", async () => {
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

  it("reports a loss", async () => {
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

  it("that fails, never ends or returns no position is reported and called again", async () => {
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

  it("whose position is older than the history is reported and called again", async () => {
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
