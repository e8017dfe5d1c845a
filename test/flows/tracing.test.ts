// Flow: sampled messages across real processes, their spans in a file.
// Guarantees: one message is one trace from its producer's span on, whichever way it takes; each span's parent is the
// step before it; an unsampled message leaves nothing; no span names a person or holds a payload.
import { randomBytes } from "node:crypto";
import {
  startApnsSimulator,
  type TestApnsSimulator,
} from "@petrel/shared/testing/cluster/start-apns-simulator";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { callCluster, metricOf, registerPhone } from "../support/phones/cluster-with-phones.js";
import {
  newProducerSpan,
  only,
  TracedCluster,
  wayOf,
  waysOf,
  type FileSpan,
} from "../support/tracing/traced-cluster.js";

const notification = { title: "You have mail", body: "from Bob" };
let simulator: TestApnsSimulator;
beforeAll(async () => {
  simulator = await startApnsSimulator();
});
afterAll(() => simulator.stop());

describe("handed over in the step that stores", () => {
  let traced: TracedCluster;
  beforeAll(async () => {
    traced = await TracedCluster.start(simulator.environment);
  });
  afterAll(() => traced.stop());

  test("from the producer's span to the acknowledgement", async () => {
    const client = await traced.connect("online");
    const producer = newProducerSpan();
    const id = await traced.send("online", producer.header, { priority: "high" });
    const spans = await traced.untilSpans(producer, "accept", "store", "deliver", "await ack");
    expect(waysOf(spans, producer)).toEqual([
      "producer > accept",
      "producer > accept > store",
      "producer > accept > store > deliver",
      "producer > accept > store > deliver > await ack",
    ]);
    expect(only(spans, "accept")).toMatchObject({ service: "petrel-collect", kind: "server" });
    expect(only(spans, "store")).toMatchObject({
      service: "petrel-collect",
      kind: "producer",
      attributes: { "messaging.message.id": id, "petrel.priority": "high", "petrel.outcome": "stored" },
    });
    expect(only(spans, "deliver")).toMatchObject({
      service: "petrel-push-node",
      kind: "consumer",
      attributes: {
        "messaging.message.id": id,
        "petrel.seq": 1,
        "petrel.priority": "high",
        "petrel.delivery": "live",
      },
    });
    expect(only(spans, "await ack").attributes["petrel.outcome"]).toBe("acknowledged");
    client.close();
  });

  test("a topic's message: published, and fanned out by the node", async () => {
    const { collect } = traced.cluster;
    await callCluster(traced.cluster, "PUT", `${collect.url}/v1/users/listener/topics/news.7`);
    const client = await traced.connect("listener");
    await waitFor(
      () => client.frames.some(({ type, topic }) => type === "subscribed" && topic === "news.7"),
      {
        what: "the subscription",
      },
    );
    const producer = newProducerSpan();
    const id = await traced.send("", producer.header, { to: { topic: "news.7" } });
    const spans = await traced.untilSpans(producer, "accept", "store", "fan out");
    expect(waysOf(spans, producer)).toEqual([
      "producer > accept",
      "producer > accept > store",
      "producer > accept > store > fan out",
    ]);
    expect(only(spans, "store").attributes).toMatchObject({
      "messaging.message.id": id,
      "petrel.outcome": "stored",
    });
    expect(only(spans, "fan out")).toMatchObject({
      service: "petrel-push-node",
      attributes: { "petrel.subscribers": 1 },
    });
    client.close();
  });

  test("a scheduled message: promoted when it is due, and everything after is the promotion's child", async () => {
    const producer = newProducerSpan();
    const deliverAt = new Date(Date.now() + 2_000).toISOString();
    const id = await traced.send("sleeper", producer.header, { deliverAt });
    const spans = await traced.untilSpans(producer, "accept", "store", "promote", "route");
    expect(waysOf(spans, producer)).toEqual([
      "producer > accept",
      "producer > accept > store",
      "producer > accept > store > promote",
      "producer > accept > store > promote > route",
    ]);
    expect(only(spans, "promote")).toMatchObject({
      service: "petrel-dispatch",
      kind: "consumer",
      attributes: { "messaging.message.id": id, "petrel.outcome": "promoted" },
    });
  });

  test("a user who connects later: delivered from the inbox, in the same trace", async () => {
    const producer = newProducerSpan();
    await traced.send("later", producer.header);
    await traced.untilSpans(producer, "route");
    const client = await traced.connect("later");
    const spans = await traced.untilSpans(producer, "await ack");
    expect(waysOf(spans, producer)).toEqual([
      "producer > accept",
      "producer > accept > store",
      "producer > accept > store > deliver",
      "producer > accept > store > deliver > await ack",
      "producer > accept > store > route",
    ]);
    expect(only(spans, "route").attributes["petrel.outcome"]).toBe("offline");
    expect(only(spans, "deliver").attributes["petrel.delivery"]).toBe("catching-up");
    client.close();
  });

  test("an offline user: offered, and sent to APNs with its answer; a retry is in the same trace", async () => {
    const token = randomBytes(32).toString("hex");
    await registerPhone(traced.cluster, "away", token);
    await simulator.setAnswer(token, { status: 503, reason: "ServiceUnavailable", times: 1 });
    const producer = newProducerSpan();
    const id = await traced.send("away", producer.header, { notification });
    await traced.untilState(id, "pushed");
    const spans = await traced.untilSpans(producer, "offer", ["fall back", 2], ["send apns", 2]);
    expect(waysOf(spans, producer)).toEqual([
      "producer > accept",
      "producer > accept > store",
      "producer > accept > store > offer",
      "producer > accept > store > offer > fall back",
      "producer > accept > store > offer > fall back",
      "producer > accept > store > offer > fall back > send apns",
      "producer > accept > store > offer > fall back > send apns",
      "producer > accept > store > route",
    ]);
    expect(only(spans, "offer").attributes).toMatchObject({ "petrel.reason": "unreached" });
    const ofName = (name: string) =>
      spans
        .filter((span) => span.name === name)
        .sort((a, b) => Number(a.attributes["petrel.attempt"]) - Number(b.attributes["petrel.attempt"]));
    const [first, second] = ofName("fall back");
    expect(first?.attributes).toMatchObject({ "petrel.attempt": 1, "petrel.outcome": "retry" });
    expect(second?.attributes).toMatchObject({
      "petrel.attempt": 2,
      "petrel.outcome": "taken",
      "petrel.channel": "apns",
    });
    const sendOf = (attempt: FileSpan | undefined) =>
      ofName("send apns").find(({ parentSpanId }) => parentSpanId === attempt?.spanId);
    expect(sendOf(first)).toMatchObject({
      kind: "client",
      status: "error",
      problem: "ServiceUnavailable",
      attributes: { "http.response.status_code": 503 },
    });
    const [shown] = await simulator.notifications(token);
    expect(sendOf(second)).toMatchObject({
      status: "unset",
      attributes: { "http.response.status_code": 200, "petrel.apns.id": shown?.apnsId },
    });
    expect(JSON.stringify(spans)).not.toContain(token);
  });

  test("a deaf client: nudged, offered after the acknowledgement timeout", async () => {
    const token = randomBytes(32).toString("hex");
    await registerPhone(traced.cluster, "deaf", token);
    const client = await traced.connect("deaf", "none");
    const producer = newProducerSpan();
    const id = await traced.send("deaf", producer.header, { notification });
    await traced.untilState(id, "pushed");
    client.close();
    const spans = await traced.untilSpans(producer, "send apns", "fall back", "await ack");
    expect(only(spans, "offer").attributes["petrel.reason"]).toBe("unacknowledged");
    expect(wayOf(only(spans, "send apns"), spans, producer)).toContain("offer");
    expect(only(spans, "await ack").attributes["petrel.outcome"]).toBe("closed");
  });

  test("refused permanently: the spans say so, and the log line names the trace; a replay continues in it", async () => {
    const token = randomBytes(32).toString("hex");
    await registerPhone(traced.cluster, "refused", token);
    await simulator.setAnswer(token, { status: 413, reason: "PayloadTooLarge", times: 1 });
    const producer = newProducerSpan();
    const id = await traced.send("refused", producer.header, { notification });
    await traced.untilState(id, "failed");
    const failed = await traced.untilSpans(producer, "fall back", "send apns");
    expect(only(failed, "fall back")).toMatchObject({
      status: "error",
      attributes: { "petrel.outcome": "failed" },
    });
    const [dispatcher] = traced.cluster.dispatchers;
    const line = ((await dispatcher?.log()) ?? "").split("\n").find((one) => one.includes(id));
    expect(JSON.parse(line ?? "{}")).toMatchObject({ messageId: id, traceId: producer.traceId });

    const { body } = await callCluster(traced.cluster, "GET", `${dispatcher?.url}/v1/dead-letters`);
    const [letter] = (body as { readonly items: readonly { readonly id: string }[] }).items;
    await callCluster(traced.cluster, "POST", `${dispatcher?.url}/v1/dead-letters/${letter?.id}/replay`);
    await traced.untilState(id, "pushed");
    const spans = await traced.untilSpans(producer, ["fall back", 2], ["send apns", 2]);
    expect(new Set(waysOf(spans, producer))).toEqual(new Set(waysOf(failed, producer)));
  });

  test("with fallback always: there is no offer in between", async () => {
    await registerPhone(traced.cluster, "both", randomBytes(32).toString("hex"));
    const producer = newProducerSpan();
    await traced.send("both", producer.header, { notification, fallback: "always" });
    const spans = await traced.untilSpans(producer, "send apns", "fall back");
    expect(wayOf(only(spans, "send apns"), spans, producer).join(" > ")).toBe(
      "producer > accept > store > fall back > send apns",
    );
  });

  test("the same request again: reported as a duplicate, in the repeating request's trace", async () => {
    const [first, again] = [newProducerSpan(), newProducerSpan()];
    const more = { idempotencyKey: "once" };
    const id = await traced.send("repeats", first.header, more);
    expect(await traced.send("repeats", again.header, more)).toBe(id);
    const client = await traced.connect("repeats");
    const spans = await traced.untilSpans(first, "await ack");
    expect(wayOf(only(spans, "await ack"), spans, first)).toContain("store");
    const repeated = await traced.untilSpans(again, "accept", "store");
    expect(only(repeated, "store").attributes["petrel.outcome"]).toBe("duplicate");
    expect(repeated).toHaveLength(2);
    client.close();
  });

  test("unsampled messages leave no span, nor do invalid trace contexts", async () => {
    const client = await traced.connect("silent");
    const unsampled = newProducerSpan("00");
    const bad = newProducerSpan();
    const ids = [
      await traced.send("silent", undefined),
      await traced.send("silent", unsampled.header),
      await traced.send("silent", bad.header.toUpperCase()),
      await traced.send("silent", `${bad.header}-more`),
    ];
    // Sent after them through the same processes: once its spans are there, theirs would be.
    const last = newProducerSpan();
    await traced.send("silent", last.header);
    await traced.untilSpans(last, "accept", "store", "deliver", "await ack");
    const all = await traced.spans();
    expect(all.filter(({ traceId }) => [unsampled.traceId, bad.traceId].includes(traceId))).toEqual([]);
    expect(all.filter(({ attributes }) => ids.includes(String(attributes["messaging.message.id"])))).toEqual(
      [],
    );
    expect(client.messages.map(({ id }) => id)).toEqual(expect.arrayContaining(ids));
    client.close();
  });

  test("no span says who a message was for, or what was in it", async () => {
    const text = JSON.stringify(await traced.spans());
    for (const word of ["online", "silent", "payload", "from Bob", "You have mail"]) {
      expect(text).not.toContain(word);
    }
  });

  test("counts exported spans, and drops none", async () => {
    const { url } = traced.cluster.dispatchers[0] ?? { url: "" };
    expect(await metricOf([url], "petrel_trace_spans_total", { outcome: "exported" })).toBeGreaterThan(5);
    expect(await metricOf([url], "petrel_trace_spans_total", { outcome: "dropped" })).toBe(0);
  });
});

describe("handed over by the dispatcher", () => {
  let traced: TracedCluster;
  beforeAll(async () => {
    traced = await TracedCluster.start({ ...simulator.environment, HAND_OVER: "dispatch" });
  });
  afterAll(() => traced.stop());

  test("the route is between storing and delivery", async () => {
    const client = await traced.connect("online");
    const producer = newProducerSpan();
    const id = await traced.send("online", producer.header);
    const spans = await traced.untilSpans(producer, "route", "deliver", "await ack");
    expect(waysOf(spans, producer)).toEqual([
      "producer > accept",
      "producer > accept > store",
      "producer > accept > store > route",
      "producer > accept > store > route > deliver",
      "producer > accept > store > route > deliver > await ack",
    ]);
    expect(only(spans, "route")).toMatchObject({
      service: "petrel-dispatch",
      kind: "consumer",
      attributes: { "messaging.message.id": id, "petrel.seq": 1, "petrel.outcome": "handed-over" },
    });
    client.close();
  });

  test("a node that stops has exported what it recorded", async () => {
    const client = await traced.connect("stays", "none");
    const producer = newProducerSpan();
    await traced.send("stays", producer.header);
    await client.untilMessages(1);
    const [node] = traced.cluster.nodes;
    node?.signal("SIGTERM");
    await node?.exited;
    const spans = await traced.untilSpans(producer, "deliver", "await ack");
    expect(only(spans, "await ack").attributes["petrel.outcome"]).toBe("closed");
  });
});
