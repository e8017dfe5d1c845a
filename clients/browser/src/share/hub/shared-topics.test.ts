// Tests the topics of all tabs on one connection: each tab's socket gets what a push node would send it.
import { beforeEach, describe, expect, test } from "vitest";
import { parseServerFrame, type ServerFrame, type WelcomeFrame } from "../../frames.js";
import { SharedTopics } from "./shared-topics.js";

type Fields = Readonly<Record<string, unknown>>;

let sent: Fields[];
let said: { readonly to: string; readonly frame: Fields }[];
let topics: SharedTopics;

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

beforeEach(async () => {
  sent = [];
  said = [];
  topics = new SharedTopics({
    send: (frame) => {
      sent.push(frame);
      return true;
    },
    say: (to, frame) => {
      for (const one of to) said.push({ to: one, frame });
    },
  });
  const welcome = { type: "welcome", epoch: "e", seq: 0, after: 0, features: ["topics", "publish"] };
  topics.adopt(parseServerFrame(JSON.stringify(welcome)) as WelcomeFrame, undefined);
  topics.join("a", undefined);
  topics.join("b", undefined);
  await server({ type: "subscribed", topic: "$all", epoch: "x", offset: 0, oldest: 1, recovered: false });
  said.length = 0;
});

async function server(frame: Fields): Promise<void> {
  const text = JSON.stringify(frame);
  const parsed: ServerFrame = parseServerFrame(text);
  if (parsed.type === "error") topics.refused(parsed);
  else topics.take(parsed, text);
  await turn();
}

async function subscribe(socket: string, entry: Fields): Promise<void> {
  topics.receive(socket, { type: "subscribe", topics: [entry] });
  await turn();
}

const answer = (offset: number, recovered = false): Fields => ({
  type: "subscribed",
  topic: "room",
  epoch: "t",
  offset,
  oldest: 1,
  recovered,
});
const message = (offset: number): Fields => ({
  type: "message",
  topic: "room",
  id: `m${offset}`,
  offset,
  at: "2030-01-01T00:00:00.000Z",
  data: offset,
});
const heard = (): string[] =>
  said.splice(0).map(({ to, frame }) => {
    const { type, offset = "", reason = "", code = "" } = frame as Readonly<Record<string, string | number>>;
    return `${to} ${type} ${offset}${reason}${code}`.trim();
  });

describe("the topics of two tabs", () => {
  test("are subscribed once; each tab gets its own answer, and messages until it leaves", async () => {
    await subscribe("a", { topic: "room" });
    expect(sent).toEqual([{ type: "subscribe", topics: [{ topic: "room" }] }]);
    await server(answer(5));
    await subscribe("b", { topic: "room" });
    await server(message(6));
    expect(heard()).toEqual(["a subscribed 5", "b subscribed 5", "a message 6", "b message 6"]);
    expect(sent).toHaveLength(1);
    topics.receive("a", { type: "unsubscribe", topics: [{ topic: "room" }] });
    await turn();
    await server(message(7));
    expect([heard(), sent.length]).toEqual([["a unsubscribed", "b message 7"], 1]);
    topics.leave("b");
    await turn();
    expect(sent.at(-1)).toEqual({ type: "unsubscribe", topics: [{ topic: "room" }] });
  });

  test("rewind for a tab that is behind; the other sees nothing twice", async () => {
    await subscribe("a", { topic: "room" });
    await server(answer(5));
    await subscribe("b", { topic: "room", epoch: "t", offset: 3 });
    expect(sent.at(-1)).toEqual({ type: "subscribe", topics: [{ topic: "room", epoch: "t", offset: 3 }] });
    await server(answer(5, true));
    for (const offset of [4, 5, 6]) await server(message(offset));
    expect(heard()).toEqual([
      "a subscribed 5",
      "b subscribed 5",
      "b message 4",
      "b message 5",
      "a message 6",
      "b message 6",
    ]);
    // It asks anew, and leaves nothing behind of what it asked before.
    await subscribe("b", { topic: "room", epoch: "t", offset: 6 });
    await server(answer(6, true));
    topics.leave("a");
    topics.leave("b");
    await turn();
    expect(sent.at(-1)).toEqual({ type: "unsubscribe", topics: [{ topic: "room" }] });
  });

  test("that the server keeps come to every tab unasked, also to a later one, and end for all", async () => {
    await server(answer(2));
    topics.join("c", undefined);
    await turn();
    await server(message(3));
    const kept = ["a", "b", "c"].flatMap((tab) => [`${tab} message 3`, `${tab} subscribed 2`]);
    expect(
      heard()
        .filter((one) => one !== "c subscribed 0")
        .toSorted(),
    ).toEqual(kept);
    topics.receive("a", { type: "unsubscribe", topics: [{ topic: "room" }] });
    expect(heard()).toEqual(["a error PETREL_CONFLICT"]);
    await server({ type: "unsubscribed", topic: "room", reason: "removed" });
    expect(heard().toSorted()).toEqual(["a", "b", "c"].map((tab) => `${tab} unsubscribed removed`));
  });

  test("presence follows the answer to each tab that asks, though the server sends it once", async () => {
    await subscribe("a", { topic: "room", presence: true });
    await server(answer(5));
    await server({ type: "presence", topic: "room", users: 1, connections: 1 });
    await subscribe("b", { topic: "room", presence: true });
    topics.join("c", undefined);
    await subscribe("c", { topic: "room", epoch: "t", offset: 3, presence: true });
    await server(answer(5, true));
    expect(heard().filter((one) => one !== "c subscribed 0")).toEqual([
      "a subscribed 5",
      "a presence",
      "b subscribed 5",
      "b presence",
      "c subscribed 5",
      "c presence",
    ]);
  });

  test("a refusal reaches the tab that asked", async () => {
    await subscribe("b", { topic: "room" });
    await server({
      type: "error",
      code: "PETREL_FORBIDDEN",
      message: "no",
      action: "none",
      on: "subscribe",
      ref: "room",
    });
    expect(heard()).toEqual(["b error PETREL_FORBIDDEN"]);
    // It may ask again, and is asked for again.
    await subscribe("b", { topic: "room" });
    expect(sent.filter(({ type }) => type === "subscribe")).toHaveLength(2);
  });
});
