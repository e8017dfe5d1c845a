// Tests `petrel topic`, and what the other commands do with topics.
// Guarantees: what is asked of the cluster is what the command line says; a hole in a topic is told.
import { CommandBench } from "@petrel/shared/testing/peers/command-bench";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { runPetrel } from "../run-petrel.js";

let bench: CommandBench;
beforeEach(async () => void (bench = await CommandBench.open(runPetrel)));
afterEach(() => bench.close());

const features = ["ack", "resume", "topics", "publish"];
const at = "2030-01-01T00:00:00.000Z";

describe("petrel topic", () => {
  const head = { topic: "room.1", epoch: "e1", offset: 5, oldest: 4, messages: 2, users: 2, connections: 3 };

  it("shows a topic's position, its presence and its kept messages", async () => {
    bench.answers.set("GET /v1/topics/room.1", [{ status: 200, body: head }]);
    bench.answers.set("GET /v1/topics/room.1/presence?limit=1000", [
      { status: 200, body: { items: [{ user: "ann", connections: 2, since: at }], nextCursor: "c" } },
    ]);
    bench.answers.set("GET /v1/topics/room.1/presence?limit=1000&cursor=c", [
      { status: 200, body: { items: [{ user: "bob", connections: 1, since: at }], nextCursor: null } },
    ]);
    bench.answers.set("GET /v1/topics/room.1/messages?after=3", [
      { status: 200, body: { items: [{ id: "m4", offset: 4, at, data: 1 }], nextAfter: 4 } },
    ]);
    bench.answers.set("GET /v1/topics/room.1/messages?after=4", [
      { status: 200, body: { items: [], nextAfter: 5 } },
    ]);
    bench.answers.set("GET /v1/topics/room.1/messages?after=5", [
      { status: 200, body: { items: [{ id: "m6", offset: 6, at, from: "ann", data: 2 }], nextAfter: null } },
    ]);
    const run = bench.run(["topic", "room.1", "--messages"]);
    expect(await run.exitCode).toBe(0);
    expect(run.out).toEqual([
      "room.1: epoch e1, offset 5, 2 kept from 4; 2 users, 3 connections",
      `ann 2 connections, since ${at}`,
      `bob 1 connections, since ${at}`,
      `#4 ${at} m4 1`,
      `#6 ${at} m6 from ann 2`,
    ]);
  });

  it("does not ask for presence if the topic has none, and prints JSON", async () => {
    const unused = { ...head, topic: "$all", epoch: null, offset: 0, users: null, connections: null };
    bench.answers.set("GET /v1/topics/%24all", [{ status: 200, body: unused }]);
    const plain = bench.run(["topic", "$all"]);
    expect([await plain.exitCode, plain.out]).toEqual([0, ["$all: never used"]]);
    const json = bench.run(["topic", "$all", "--json"]);
    expect(await json.exitCode).toBe(0);
    expect(json.out.map((line) => JSON.parse(line) as unknown)).toEqual([unused]);
    expect(bench.asked.map(({ line }) => line)).toEqual(Array(2).fill("GET /v1/topics/%24all"));
  });
});

describe("petrel send", () => {
  it.each([
    [["--topic", "room.1"], { topic: "room.1" }, "Bearer key1.s3cret"],
    [["--all"], { all: true }, "Bearer root.s3cret"],
  ])("%s is confirmed, if the key may send", async (options, to, authorization) => {
    const run = bench.run(["send", ...options, '{"a":1}']);
    expect([await run.exitCode, run.out]).toEqual([0, ["p1_m accepted"]]);
    expect(JSON.parse(bench.asked[0]?.body ?? "")).toEqual({ to, data: { a: 1 } });
    expect(bench.asked[0]?.authorization).toBe(authorization);
  });
});

describe("petrel token", () => {
  it("requests the given rights", async () => {
    const run = bench.run(["token", "alice", "--topics", "room.*, chat.7/subscribe+publish"]);
    expect(await run.exitCode).toBe(0);
    expect(JSON.parse(bench.asked[0]?.body ?? "")).toEqual({
      userId: "alice",
      topics: [
        { topic: "room.*", can: ["subscribe"] },
        { topic: "chat.7", can: ["subscribe", "publish"] },
      ],
    });
  });
});

describe("petrel listen --topic", () => {
  it("shows messages of topics across reconnects, and reports a hole", async () => {
    const run = bench.run([
      "listen",
      "alice",
      "--topic",
      "room.1",
      "--topic",
      "$all",
      "--presence",
      "--json",
    ]);
    const first = await bench.node.accept();
    expect(JSON.parse(bench.asked[0]?.body ?? "")).toEqual({
      userId: "alice",
      topics: [{ topic: "room.1", can: ["subscribe", "presence"] }],
    });
    first.welcome({ features });
    expect((await first.next("subscribe"))["topics"]).toEqual([{ topic: "room.1", presence: true }]);
    const said = { type: "subscribed", topic: "room.1", epoch: "t1", offset: 3, oldest: 1, recovered: false };
    first.send(said);
    first.send({ type: "message", topic: "room.1", id: "m4", offset: 4, at, from: "ann", data: 1 });
    await waitFor(() => run.out.length === 1, { what: "the message" });
    first.send({ type: "presence", topic: "room.1", users: 1, connections: 1, here: ["ann"] });
    await waitFor(() => run.out.length === 2, { what: "presence" });
    first.cut();
    const second = await bench.node.accept();
    second.welcome({ features });
    expect((await second.next("subscribe"))["topics"]).toEqual([
      { topic: "room.1", epoch: "t1", offset: 4, presence: true },
    ]);
    second.send({ ...said, offset: 50, oldest: 40 });
    await waitFor(() => run.err.some((line) => line.includes("lost")), { what: "the hole" });
    expect(run.out.map((line) => JSON.parse(line) as unknown)).toEqual([
      { topic: "room.1", id: "m4", offset: 4, at, from: "ann", data: 1, epoch: "t1" },
      { topic: "room.1", users: 1, connections: 1, here: ["ann"] },
    ]);
    expect(run.err).toContain("room.1: messages after 4 are lost; it continues after 50");
    run.interrupt();
    expect(await run.exitCode).toBe(0);
  });

  it("shows kept messages, and ends after the requested number", async () => {
    const run = bench.run(["listen", "alice", "--topic", "room.1", "--history", "--count", "1"]);
    const socket = await bench.node.accept();
    socket.welcome({ features });
    await socket.next("subscribe");
    const said = { type: "subscribed", topic: "room.1", epoch: "t1", offset: 5, oldest: 4 };
    socket.send({ ...said, recovered: false });
    expect((await socket.next("subscribe"))["topics"]).toEqual([{ topic: "room.1", epoch: "t1", offset: 3 }]);
    socket.send({ ...said, recovered: true });
    for (const offset of [4, 5]) {
      socket.send({ type: "message", topic: "room.1", id: `m${offset}`, offset, at, data: offset });
    }
    expect(await run.exitCode).toBe(0);
    expect(run.out).toEqual([`room.1 #4 ${at} m4 4`]);
  });

  it("prints the server's refusal", async () => {
    const run = bench.run(["listen", "alice", "--topic", "room.1"]);
    const socket = await bench.node.accept();
    socket.welcome({ features });
    await socket.next("subscribe");
    const error = { code: "PETREL_FORBIDDEN", message: "no", action: "stop", ref: "room.1", on: "subscribe" };
    socket.send({ type: "error", ...error });
    await waitFor(() => run.err.includes("room.1: PETREL_FORBIDDEN: no"), { what: "the refusal" });
    run.interrupt();
    expect(await run.exitCode).toBe(0);
  });
});
