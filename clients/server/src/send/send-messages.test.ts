// Tests sending: batches, order, repeats, bounds and the end, against a collect that the test plays.
// Guarantees: what resolves is stored once; what rejects as refused is not stored; each recipient's order holds.
import { createHash, createHmac } from "node:crypto";
import { describe, expect, test } from "vitest";
import { json, ofError, openPetrel, stored, to } from "../../../../test/support/clients/played-collect.js";

describe("batches", () => {
  test("go out together if sent in one turn, in order, each with its own key", async () => {
    const { petrel, requests } = openPetrel(stored);
    const sent = await Promise.all([1, 2, 3, 4].map((n) => petrel.send(to("alice", n))));
    expect(requests.map(({ messages }) => messages.map(({ data }) => data))).toEqual([[1, 2, 3, 4]]);
    expect(new Set(sent.map(({ id }) => id)).size).toBe(4);
  });

  test("keep senders in a closed loop together without waiting for the linger", async () => {
    const { petrel, requests } = openPetrel(stored);
    const sender = async (name: string): Promise<void> => {
      for (let i = 0; i < 10; i++) await petrel.send(to(name, i));
    };
    await Promise.all(Array.from({ length: 64 }, (_, i) => sender(`u${i}`)));
    expect(requests.map(({ messages }) => messages.length)).toEqual(Array.from({ length: 10 }, () => 64));
  });

  test("hold at most 1,000 recipients, counting lists", async () => {
    const { petrel, requests } = openPetrel(({ messages }) =>
      json(202, {
        results: messages.map(({ to }) => ("users" in to ? { results: [] } : { id: "m", duplicate: false })),
      }),
    );
    const users = Array.from({ length: 400 }, (_, i) => `l${i}`);
    await Promise.all([
      ...Array.from({ length: 1_700 }, (_, i) => petrel.send(to(`u${i}`))),
      petrel.send({ to: { users }, data: 1 }),
      petrel.send({ to: { users: users.map((one) => `${one}x`) }, data: 1 }),
    ]);
    const sizes = requests.map(({ messages }) =>
      messages.reduce((sum, { to }) => sum + ("users" in to ? (to["users"] as string[]).length : 1), 0),
    );
    expect(Math.max(...sizes)).toBeLessThanOrEqual(1_000);
    expect(sizes.reduce((a, b) => a + b)).toBe(2_500);
    expect(sizes.length).toBe(3);
  });

  test("hold at most 8 MiB", async () => {
    const { petrel, requests } = openPetrel(stored, { gzipAboveBytes: Number.POSITIVE_INFINITY });
    const text = "é".repeat(500_000);
    await Promise.all(Array.from({ length: 18 }, (_, i) => petrel.send(to(`u${i}`, text))));
    expect(requests.map(({ messages }) => messages.length).toSorted((a, b) => b - a)).toEqual([8, 8, 2]);
    for (const { bytes } of requests) expect(bytes.length).toBeLessThanOrEqual(8 * 1024 * 1024);
    const tooLarge = await ofError(petrel.send(to("a", "x".repeat(8 * 1024 * 1024))));
    expect(tooLarge).toMatchObject({ code: "PETREL_SDK_INVALID_MESSAGE", outcome: "refused" });
  });

  test("are compressed if it pays, and signed as sent", async () => {
    const { petrel, requests } = openPetrel(stored, { sign: true, gzipAboveBytes: 1_000 });
    await petrel.send(to("a", "x".repeat(5_000)));
    await petrel.send(to("a", createHash("sha512").update("y").digest("base64").repeat(1)));
    expect(requests.map(({ headers }) => headers.get("content-encoding"))).toEqual(["gzip", null]);
    for (const { headers, bytes } of requests) {
      const signed = [
        headers.get("petrel-id"),
        headers.get("petrel-timestamp"),
        "POST",
        "/v1/messages/batch",
        createHash("sha256").update(bytes).digest("hex"),
      ].join("\n");
      const mac = createHmac("sha256", "secret").update(signed).digest("base64");
      expect(headers.get("petrel-signature")).toBe(`v1,${mac}`);
      expect(headers.get("petrel-key")).toBe("pk");
      expect(headers.get("authorization")).toBeNull();
    }
  });

  test("carry the data as it was at the call", async () => {
    const { petrel, requests } = openPetrel(stored);
    const data = { n: 1 };
    const sending = petrel.send(to("a", data));
    data.n = 2;
    await sending;
    expect(requests[0]?.messages[0]?.data).toEqual({ n: 1 });
  });
});

describe("order", () => {
  test("a recipient's next message waits for the previous one; others do not", async () => {
    let answerFirst = (): void => undefined;
    const { petrel, requests } = openPetrel((asked, index) =>
      index > 0
        ? stored(asked)
        : new Promise((resolve) => {
            answerFirst = () => resolve(stored(asked));
          }),
    );
    const first = petrel.send(to("alice", 1));
    while (requests.length === 0) await new Promise(setImmediate);
    const second = petrel.send(to("alice", 2));
    const list = petrel.send({ to: { users: ["carol", "alice"] }, data: 3 });
    const carol = petrel.send(to("carol", 4));
    const sameName = petrel.send({ to: { topic: "alice" }, data: 5 });
    await petrel.send(to("bob", 6));
    await sameName;
    expect(requests.slice(1).flatMap(({ messages }) => messages.map(({ data }) => data))).toEqual([5, 6]);
    answerFirst();
    await Promise.allSettled([first, second, list, carol]);
    expect(requests.flatMap(({ messages }) => messages.map(({ data }) => data))).toEqual([1, 5, 6, 2, 3, 4]);
  });
});

describe("bounds", () => {
  test("a full queue refuses; ready() resolves when there is room", async () => {
    let answer = (): void => undefined;
    const { petrel, requests } = openPetrel(
      (asked) =>
        new Promise((resolve) => {
          answer = () => resolve(stored(asked));
        }),
      { maxQueued: 4 },
    );
    const all = ["a", "b", "c", "d"].map((user) => petrel.send(to(user)));
    expect(await ofError(petrel.send(to("e")))).toMatchObject({
      code: "PETREL_SDK_QUEUE_FULL",
      outcome: "refused",
      retryable: true,
    });
    let isReady = false;
    const ready = petrel.ready().then(() => {
      isReady = true;
    });
    while (requests.length === 0) await new Promise(setImmediate);
    expect(isReady).toBe(false);
    answer();
    await Promise.all([...all, ready]);
    await petrel.ready();
  });

  test("counts bytes, too", async () => {
    const { petrel } = openPetrel(stored, { maxQueuedBytes: 1_000 });
    const first = petrel.send(to("a", "x".repeat(900)));
    expect((await ofError(petrel.send(to("b", "x".repeat(100))))).code).toBe("PETREL_SDK_QUEUE_FULL");
    await first;
  });

  test("refuses a list of more than 1,000", async () => {
    const { petrel, requests } = openPetrel(stored);
    const users = Array.from({ length: 1_001 }, (_, i) => `u${i}`);
    const error = await ofError(petrel.send({ to: { users }, data: 1 }));
    expect(error.code).toBe("PETREL_SDK_INVALID_MESSAGE");
    expect(requests.length).toBe(0);
  });

  test("close() sends what waits and accepts no more", async () => {
    const { petrel, requests } = openPetrel(stored);
    const sending = [1, 2, 3].map((n) => petrel.send(to("a", n)));
    const closing = petrel.close();
    expect(await ofError(petrel.send(to("b")))).toMatchObject({
      code: "PETREL_SDK_CLOSED",
      outcome: "refused",
    });
    await closing;
    expect((await Promise.allSettled(sending)).every(({ status }) => status === "fulfilled")).toBe(true);
    expect(requests[0]?.messages.length).toBe(3);
  });
});
