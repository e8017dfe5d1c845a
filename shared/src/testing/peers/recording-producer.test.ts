// Tests the recording producer, against a collect with scripted answers.
// Guarantees: accepted, refused and unknown are recorded as the producer could know them.
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, expect, test } from "vitest";
import { freePort } from "../free-port.js";
import { MessageRecorder } from "./message-recorder.js";
import { RecordingProducer } from "./recording-producer.js";

type Reply = number | "cut" | "silence";

let server: Server;
let url: string;
let bodies: { readonly idempotencyKey?: string; readonly data: { readonly n: number } }[];
let replies: Reply[];
let recorder: MessageRecorder;
let producers: RecordingProducer[];

beforeEach(async () => {
  bodies = [];
  replies = [];
  producers = [];
  recorder = new MessageRecorder();
  server = createServer((request, response) => {
    let text = "";
    request.on("data", (chunk: Buffer) => (text += chunk.toString()));
    request.on("end", () => {
      bodies.push(JSON.parse(text) as (typeof bodies)[number]);
      const reply = replies.shift() ?? 202;
      if (reply === "cut") request.socket.destroy();
      else if (reply !== "silence")
        response.writeHead(reply).end(JSON.stringify({ id: `m${bodies.length}` }));
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

afterEach(async () => {
  await Promise.all(producers.map((one) => one.stop()));
  server.close();
  server.closeAllConnections();
});

function producer(urls: readonly string[] = [url]): RecordingProducer {
  const made = new RecordingProducer({
    recorder,
    urls,
    apiKey: "k.s",
    answerTimeoutMs: 1_000,
    insistMs: 10_000,
  });
  producers.push(made);
  return made;
}

const message = { user: "alice", data: { text: "x" }, insists: false };

test("202 is accepted, under its id", async () => {
  await producer().post(message);
  expect(recorder.posts).toMatchObject([{ outcome: "accepted", id: "m1", attempts: 1 }]);
  expect(bodies).toMatchObject([{ data: { n: 0, text: "x" } }]);
  expect(recorder.posts[0]?.answeredAtMs).toBeGreaterThanOrEqual(recorder.posts[0]?.startedAtMs ?? 0);
});

test.each(["cut", "silence", 503] as const)("%s: unknown, and left so", async (reply) => {
  replies = [reply];
  await producer().post(message);
  expect(recorder.posts).toMatchObject([
    { outcome: "unknown", id: undefined, attempts: 1, answeredAtMs: Number.POSITIVE_INFINITY },
  ]);
  expect(bodies).toHaveLength(1);
});

test("one that insists asks again with the same key until answered", async () => {
  replies = ["cut", "silence", 503];
  await producer().post({ ...message, insists: true });
  expect(recorder.posts).toMatchObject([{ outcome: "accepted", id: "m4", attempts: 4 }]);
  expect(new Set(bodies.map(({ idempotencyKey }) => idempotencyKey)).size).toBe(1);
  expect(bodies[0]?.idempotencyKey).toBeTruthy();
});

test("400 is refused; after an unanswered try it says nothing about that try", async () => {
  replies = [400, "cut", 400];
  const asking = producer();
  await asking.post({ ...message, insists: true });
  await asking.post({ ...message, insists: true });
  expect(recorder.posts.map(({ outcome }) => outcome)).toEqual(["refused", "unknown"]);
});

test("if nobody listens, nothing was sent: the next one is asked", async () => {
  await producer([`http://127.0.0.1:${await freePort()}`, url]).post(message);
  expect(recorder.posts).toMatchObject([{ outcome: "accepted", attempts: 2 }]);
});

test("sends a user's messages one after another, different users' side by side", async () => {
  replies = ["silence"];
  const asking = producer();
  void asking.post({ ...message, insists: true });
  void asking.post(message);
  await asking.post({ ...message, user: "bob" });
  expect(recorder.posts.map(({ user, outcome }) => `${user} ${outcome}`)).toEqual([
    "alice unknown",
    "bob accepted",
  ]);
  await asking.settled();
  expect(bodies.map(({ data }) => data.n)).toEqual([0, 1, 0, 2]);
  expect(recorder.posts.map(({ outcome }) => outcome)).toEqual(["accepted", "accepted", "accepted"]);
});
