// Tests that events reach their webhooks, on a real Redis and a real receiver. Guarantees covered: from the creation
// on, in order, signed; a batch keeps its id and bytes whatever happens to it, and delays nobody else; an endpoint that
// is given up keeps its place; lost events are reported.
import { createHmac } from "node:crypto";
import { partitionOfUser } from "@petrel/shared/protocol/messages/partition";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { expect, test } from "vitest";
import {
  bodyOf,
  idOf,
  messagesOf,
  quickRetry,
  settled,
  useWebhooks,
  webhookKey as key,
} from "../testing/use-webhooks.js";

const given = useWebhooks();
const { start, receive, create, happen } = given;

/** Two users of different partitions. */
const [ada, bob] = ["u1", "u2", "u3", "u4", "u5"].reduce<[string, string]>(
  (found, user) => (partitionOfUser(user, 2) === 0 ? [user, found[1]] : [found[0], user]),
  ["", ""],
);

test("delivers what happens after the creation, in order for each user, and signed", async () => {
  const dispatcher = await start();
  const receiver = await receive();
  await happen(ada, 3);
  const createdAtMs = (await given.store.nowMs()) + 1;
  await waitFor(async () => (await given.store.nowMs()) >= createdAtMs, { what: "the next millisecond" });
  await create(dispatcher, "wh_a", receiver, { createdAtMs });
  const [ofAda, ofBob] = [await happen(ada, 150), await happen(bob, 5)];
  const got = await settled(receiver, 155);
  expect(got).toHaveLength(155);
  expect(got.filter((id) => ofAda.includes(id ?? ""))).toEqual(ofAda);
  expect(got.filter((id) => ofBob.includes(id ?? ""))).toEqual(ofBob);
  for (const request of receiver.requests) {
    expect(bodyOf(request).data.items.length).toBeLessThanOrEqual(100);
    expect(bodyOf(request).data).not.toHaveProperty("gap");
    const { body, headers } = request;
    const text = `${idOf(request)}.${String(headers["webhook-timestamp"])}.${body}`;
    const signature = `v1,${createHmac("sha256", key).update(text).digest("base64")}`;
    expect(headers["webhook-signature"]).toBe(signature);
  }
  const counted = (): Promise<number> =>
    dispatcher.count("petrel_webhook_attempts_total", { outcome: "delivered" });
  await waitFor(async () => (await counted()) >= receiver.requests.length, {
    what: "the answer to the last request to be counted",
  });
  expect(await counted()).toBe(receiver.requests.length);
  await waitFor(
    async () => (await dispatcher.webhooks.attempts.list("wh_a", undefined, 10)).items.length > 0,
    {
      what: "the attempts",
    },
  );
});

test("delivers only the types that it asks for", async () => {
  const dispatcher = await start();
  const receiver = await receive();
  await create(dispatcher, "wh_a", receiver, { types: ["message.failed"] });
  await happen(ada, 20);
  const failed = await happen(ada, 2, "message.failed");
  await happen(ada, 20);
  expect(await settled(receiver, 2)).toEqual(failed);
});

test("a failing batch keeps its id and bytes, and delays no other webhook and no other partition", async () => {
  const dispatcher = await start();
  const [good, bad] = [await receive(), await receive()];
  let tries = 0;
  bad.answerWith((request, response) => {
    const isAdas = bodyOf(request).data.items.some(({ user }) => user === ada);
    response.writeHead(isAdas && ++tries < 4 ? 500 : 204).end();
  });
  await create(dispatcher, "wh_bad", bad);
  await create(dispatcher, "wh_good", good);
  const [ofAda, ofBob] = [await happen(ada, 2), await happen(bob, 2)];
  await settled(good, 4);
  await settled(bad, 4);
  await waitFor(() => tries >= 4, { what: "the last attempt" });
  const [first, ...more] = bad.requests.filter((request) => bodyOf(request).data.items[0]?.user === ada);
  if (first === undefined) throw new Error("no request");
  const same = more.filter((request) => idOf(request) === idOf(first));
  expect(same.length).toBeGreaterThanOrEqual(3);
  for (const request of same) expect(request.body).toBe(first.body);
  expect(bad.requests.some((request) => ofBob.includes(bodyOf(request).data.items[0]?.message ?? ""))).toBe(
    true,
  );
  expect(new Set(messagesOf(good.requests))).toEqual(new Set([...ofAda, ...ofBob]));
});

test("a silent receiver delays no other", async () => {
  const dispatcher = await start();
  const [good, silent] = [await receive(), await receive(() => undefined)];
  await create(dispatcher, "wh_silent", silent);
  await create(dispatcher, "wh_good", good);
  await happen(ada, 1);
  await waitFor(() => silent.requests.length === 1, { what: "the request that hangs" });
  await happen(ada, 3);
  await settled(good, 4);
  expect(silent.requests).toHaveLength(1);
});

test("410 pauses it; when it is resumed the same batch continues", async () => {
  const dispatcher = await start();
  const receiver = await receive((_request, response) => void response.writeHead(410).end());
  await create(dispatcher, "wh_a", receiver);
  const ids = await happen(ada, 2);
  await waitFor(async () => (await dispatcher.webhooks.store.find("wh_a"))?.pausedReason === "gone", {
    what: "the pause",
  });
  const tried = receiver.requests.length;
  const later = await happen(ada, 1);
  receiver.answerWith((_request, response) => void response.writeHead(200).end());
  const { store: webhooks } = dispatcher.webhooks;
  await webhooks.change("wh_a", (one) => ({ ...one, paused: false, pausedReason: null, era: one.era + 1 }));
  await settled(receiver, 3);
  const [first, again] = [receiver.requests[0], receiver.requests[tried]];
  if (first === undefined || again === undefined) throw new Error("no requests");
  expect([idOf(again), again.body]).toEqual([idOf(first), first.body]);
  expect(messagesOf(receiver.requests.slice(tried))).toEqual([...ids, ...later]);
  expect(await dispatcher.registry.metrics()).not.toContain('petrel_webhook_paused{webhook="wh_a"');
});

test("gives up what never succeeds, and keeps its position", async () => {
  const receiver = await receive((_request, response) => void response.writeHead(500).end());
  const webhookRetry = {
    ...quickRetry,
    // The time is over at the second attempt, however long the first one takes.
    get giveUpAfterMs() {
      return receiver.requests.length > 1 ? 0 : 3_600_000;
    },
  };
  const dispatcher = await start({ webhookRetry });
  await create(dispatcher, "wh_a", receiver);
  await happen(ada, 1);
  await waitFor(async () => (await dispatcher.webhooks.store.find("wh_a"))?.pausedReason === "exhausted", {
    what: "the pause",
  });
  expect(receiver.requests.length).toBeGreaterThan(1);
  await waitFor(async () => (await dispatcher.registry.metrics()).includes('reason="exhausted"'), {
    what: "the gauge",
  });
  const audit = JSON.stringify(await given.store.redis.xrange("petrel:audit", "-", "+"));
  expect(audit).toContain("webhook.pause");
});

test("if the owner dies midway through a batch, the next one sends the same under the same id", async () => {
  const first = await start();
  const receiver = await receive(() => undefined);
  await create(first, "wh_a", receiver);
  const ids = await happen(ada, 3);
  await waitFor(() => receiver.requests.length === 1, { what: "the request that hangs" });
  first.crash();
  receiver.answerWith((_request, response) => void response.writeHead(204).end());
  await happen(ada, 2);
  await start({ dispatcherId: "b" });
  await settled(receiver, 5);
  const [hung, again] = receiver.requests;
  if (hung === undefined || again === undefined) throw new Error("no requests");
  expect([idOf(again), again.body]).toEqual([idOf(hung), hung.body]);
  expect(messagesOf([again]).slice(0, 1)).toEqual(ids.slice(0, 1));
});

test("a pause stops it, a resume continues, a replay starts over", async () => {
  const dispatcher = await start();
  const receiver = await receive();
  await create(dispatcher, "wh_a", receiver);
  const { store: webhooks, directory } = dispatcher.webhooks;
  const before = await happen(ada, 1);
  await settled(receiver, 1);
  await webhooks.change("wh_a", (one) => ({ ...one, paused: true }));
  await directory.look();
  await waitFor(async () => (await dispatcher.registry.metrics()).includes('reason="operator"'), {
    what: "the pause",
  });
  const meanwhile = await happen(ada, 2);
  await webhooks.change("wh_a", (one) => ({ ...one, paused: false, era: one.era + 1 }));
  expect(await settled(receiver, 3)).toEqual([...before, ...meanwhile]);
  await webhooks.change("wh_a", (one) => ({ ...one, replay: { number: 1, after: one.createdAtMs } }));
  await waitFor(() => messagesOf(receiver.requests).length === 6, { what: "the replay" });
  expect(messagesOf(receiver.requests).slice(3)).toEqual([...before, ...meanwhile]);
  const items = receiver.requests.flatMap((request) => bodyOf(request).data.items);
  expect(items[3]).toEqual(items[0]);
});

test("a change that the API has already answered applies at once, even if nothing else happens", async () => {
  const dispatcher = await start({ webhookRetry: { ...quickRetry, baseMs: 1_800_000, capMs: 3_600_000 } });
  const [receiver, other] = [await receive(), await receive()];
  await create(dispatcher, "wh_a", receiver);
  const { store: webhooks, directory } = dispatcher.webhooks;
  const before = await happen(ada, 1);
  await settled(receiver, 1);
  await webhooks.change("wh_a", (one) => ({ ...one, replay: { number: 1, after: one.createdAtMs } }));
  await directory.look();
  await waitFor(() => messagesOf(receiver.requests).length === 2, { what: "the replay" });

  receiver.answerWith((_request, response) => void response.writeHead(503, { "retry-after": "3600" }).end());
  const failed = await happen(ada, 1);
  await settled(receiver, 2);
  await webhooks.change("wh_a", (one) => ({ ...one, url: other.url, era: one.era + 1 }));
  await directory.look();
  expect(await settled(other, 1)).toEqual(failed);
  expect(messagesOf(receiver.requests)).toEqual([...before, ...before, ...failed]);
});

test("if undelivered events are gone, the next batch says so, once", async () => {
  const dispatcher = await start();
  const receiver = await receive((_request, response) => void response.writeHead(500).end());
  await create(dispatcher, "wh_a", receiver);
  await happen(ada, 1);
  await waitFor(() => receiver.requests.length > 0, { what: "the first attempt" });
  const { events, eventLog } = given.store.partitions[partitionOfUser(ada, 2)]!;
  const lost = (await given.store.redis.xrange(events, "-", "+"))[0]?.[0] ?? "";
  const next = await happen(ada, 1);
  await given.store.redis.hset(eventLog, "trimmed", lost);
  await given.store.redis.xdel(events, lost);
  await waitFor(() => bodyOf(receiver.requests.at(-1)!).data.gap === true, { what: "the gap" });
  const told = receiver.requests.length;
  receiver.answerWith((_request, response) => void response.writeHead(200).end());
  await waitFor(() => receiver.requests.length > told, { what: "the success" });
  await happen(ada, 1);
  await waitFor(() => bodyOf(receiver.requests.at(-1)!).data.gap === undefined, { what: "the next batch" });
  expect(messagesOf([receiver.requests[told]!])).toEqual(next);
  expect(idOf(receiver.requests[told]!)).not.toBe(idOf(receiver.requests[0]!));
});

test("follows Retry-After", async () => {
  const dispatcher = await start();
  const receiver = await receive(
    (_request, response) => void response.writeHead(503, { "retry-after": "3600" }).end(),
  );
  await create(dispatcher, "wh_a", receiver);
  const [waiting] = await happen(ada, 1);
  await waitFor(
    async () =>
      (
        await given.store.redis.get(given.store.partitions[partitionOfUser(ada, 2)]!.webhook("wh_a"))
      )?.includes('"failures":1') === true,
    {
      what: "the first attempt",
    },
  );
  const progress = await given.store.redis.get(
    given.store.partitions[partitionOfUser(ada, 2)]!.webhook("wh_a"),
  );
  const { nextAtMs } = JSON.parse(progress ?? "{}") as { nextAtMs: number };
  expect(nextAtMs - Date.now()).toBeGreaterThan(3_000_000);
  // What happens meanwhile does not wake it.
  await happen(bob, 1);
  const reading = await dispatcher.webhooks.deliverer.read();
  expect(reading).toMatchObject([{ id: "wh_a", lagEvents: expect.any(Number) }]);
  expect(reading[0]?.lagSeconds).toBeGreaterThan(0);
  expect(receiver.requests).toHaveLength(1);
  // An operator who resumes it, or moves it, does not have to wait.
  receiver.answerWith((_request, response) => void response.writeHead(200).end());
  await dispatcher.webhooks.store.change("wh_a", (one) => ({ ...one, era: one.era + 1 }));
  await waitFor(
    () => receiver.requests.filter((request) => messagesOf([request]).includes(waiting)).length === 2,
    {
      what: "the second attempt",
    },
  );
});

test("when a receiver is back, partitions with longer pauses resume at once", async () => {
  const receiver = await receive((_request, response) => void response.writeHead(500).end());
  const first = await start();
  await create(first, "wh_a", receiver);
  await first.stop();
  const waiting = {
    after: await given.store.nowMs(),
    failures: 20,
    nextAtMs: Date.now() + 3_600_000,
    era: 0,
    replayed: 0,
  };
  await given.store.redis.set(
    given.store.partitions[partitionOfUser(bob, 2)]!.webhook("wh_a"),
    JSON.stringify(waiting),
  );
  const [ofAda, ofBob] = [await happen(ada, 1), await happen(bob, 1)];
  const second = await start({ dispatcherId: "b" });
  await waitFor(
    async () =>
      (await second.registry.metrics()).includes(
        'petrel_webhook_breaker_open{webhook="wh_a",component="test"} 1',
      ),
    {
      what: "the breaker to open",
    },
  );
  expect(messagesOf(receiver.requests)).not.toContain(ofBob[0]);
  const failed = receiver.requests.length;
  receiver.answerWith((_request, response) => void response.writeHead(200).end());
  await waitFor(() => receiver.requests.length >= failed + 2, { what: "both" });
  expect(new Set(messagesOf(receiver.requests.slice(failed)).slice(-2))).toEqual(
    new Set([...ofAda, ...ofBob]),
  );
});

test("a stop lets the current request end, and what it delivered does not come again", async () => {
  const dispatcher = await start();
  let answer = (): void => undefined;
  const receiver = await receive((_request, response) => void (answer = () => response.writeHead(200).end()));
  await create(dispatcher, "wh_a", receiver);
  const before = await happen(ada, 1);
  await waitFor(() => receiver.requests.length === 1, { what: "the request" });
  const stopped = dispatcher.stop();
  answer();
  await stopped;
  receiver.answerWith((_request, response) => void response.writeHead(200).end());
  const after = await happen(ada, 1);
  await start({ dispatcherId: "b" });
  expect(await settled(receiver, 2)).toEqual([...before, ...after]);
});

test("a removed webhook ends and leaves nothing", async () => {
  const dispatcher = await start();
  const receiver = await receive((_request, response) => void response.writeHead(500).end());
  await create(dispatcher, "wh_a", receiver);
  await happen(ada, 1);
  await waitFor(() => receiver.requests.length > 0, { what: "an attempt" });
  await dispatcher.webhooks.store.remove("wh_a");
  await waitFor(async () => (await given.store.redis.keys("*webhook:wh_a*")).length === 0, {
    what: "its end",
  });
});
