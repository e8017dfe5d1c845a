// Tests the webhook channel against a real HTTP server.
import { createHmac } from "node:crypto";
import { systemClock } from "@petrel/shared/kernel/clock";
import { NO_TRACING } from "@petrel/shared/kernel/tracing/tracing";
import { freePort } from "@petrel/shared/testing/free-port";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { describeChannel, job } from "../../testing/channel-conformance.js";
import { startWebhookReceiver, type WebhookReceiver } from "../../testing/webhook-receiver.js";
import { createResolver } from "../../webhooks/sender/checked-lookup.js";
import { WebhookSender } from "../../webhooks/sender/webhook-sender.js";
import { WebhookChannel } from "./webhook-channel.js";

const secrets = [Buffer.alloc(32, 1), Buffer.alloc(24, 2)];
const never = new AbortController().signal;

function channelFor(url: string, timeoutMs = 5_000): WebhookChannel {
  const sender = new WebhookSender({ timeoutMs, allowPrivate: true, resolveName: createResolver(1) });
  return new WebhookChannel({ url, secrets, sender, timeoutMs, clock: systemClock, tracing: NO_TRACING });
}

describeChannel("the webhook", async () => {
  const receiver = await startWebhookReceiver();
  const statuses: Record<string, number> = { take: 200, refuse: 422, "fail for now": 503 };
  return {
    channel: channelFor(receiver.url, 120_000),
    behave: (as) =>
      receiver.answerWith((_request, response) => {
        const status = statuses[as];
        if (status !== undefined) response.writeHead(status).end("{}");
      }),
    received: () =>
      receiver.requests.map(({ headers, body }) => ({
        id: String(headers["webhook-id"]),
        notification: (JSON.parse(body) as { notification: unknown }).notification,
      })),
    close: () => receiver.close(),
  };
});

describe("the webhook", () => {
  let receiver: WebhookReceiver;
  beforeEach(async () => void (receiver = await startWebhookReceiver()));
  afterEach(() => receiver.close());

  test("posts the message's facts as JSON, with the notification as written", async () => {
    await channelFor(receiver.url).send({ ...job, notification: '{"badge":12345678901234567890}' }, never);
    const [request] = receiver.requests;
    expect(request).toMatchObject({
      method: "POST",
      path: "/hook?to=petrel",
      headers: { "content-type": "application/json", "user-agent": "petrel" },
    });
    expect(request?.body).toBe(
      `{"id":"${job.id}","user":"ada","seq":7,"epoch":"e.1","acceptedAt":"2023-11-14T22:13:20.000Z",` +
        `"expiresAt":"2023-11-14T22:23:20.000Z","priority":"normal","notification":{"badge":12345678901234567890}}`,
    );
  });

  test("sends a collapse key beside the notification, not in it", async () => {
    await channelFor(receiver.url).send({ ...job, collapseKey: "score" }, never);
    expect(JSON.parse(receiver.requests[0]?.body ?? "")).toMatchObject({
      collapseKey: "score",
      notification: { title: "hi", body: "there" },
    });
  });

  test("signs id, time and body with each secret", async () => {
    await channelFor(receiver.url).send(job, never);
    const [request] = receiver.requests;
    if (request === undefined) throw new Error("no request");
    const { headers, body } = request;
    const timestamp = String(headers["webhook-timestamp"]);
    expect(Math.abs(Number(timestamp) - Date.now() / 1000)).toBeLessThan(60);
    const expected = secrets.map(
      (secret) =>
        `v1,${createHmac("sha256", secret).update(`${job.id}.${timestamp}.${body}`).digest("base64")}`,
    );
    expect(headers["webhook-signature"]).toBe(expected.join(" "));
  });

  test("reuses its connection", async () => {
    receiver.answerWith((_request, response) => void response.writeHead(200).end("x".repeat(60_000)));
    const channel = channelFor(receiver.url);
    for (let i = 0; i < 20; i++) await channel.send(job, never);
    // The next request may come before the last answer's end is noticed: a few, but not one for each.
    expect(new Set(receiver.requests.map(({ connection }) => connection)).size).toBeLessThan(5);
  });

  test.each([
    [200, { outcome: "taken" }],
    [202, { outcome: "taken" }],
    [299, { outcome: "taken" }],
    [408, { outcome: "retry", reason: "HTTP 408" }],
    [425, { outcome: "retry", reason: "HTTP 425" }],
    [429, { outcome: "retry", reason: "HTTP 429" }],
    [500, { outcome: "retry", reason: "HTTP 500" }],
    [599, { outcome: "retry", reason: "HTTP 599" }],
    [400, { outcome: "failed", cause: "rejected", reason: "HTTP 400" }],
    [413, { outcome: "failed", cause: "rejected", reason: "HTTP 413" }],
    [422, { outcome: "failed", cause: "rejected", reason: "HTTP 422" }],
    [401, { outcome: "failed", cause: "misconfigured", reason: "HTTP 401" }],
    [403, { outcome: "failed", cause: "misconfigured", reason: "HTTP 403" }],
    [404, { outcome: "failed", cause: "misconfigured", reason: "HTTP 404" }],
    [405, { outcome: "failed", cause: "misconfigured", reason: "HTTP 405" }],
    [410, { outcome: "failed", cause: "misconfigured", reason: "HTTP 410" }],
    [304, { outcome: "failed", cause: "misconfigured", reason: "HTTP 304: redirects are not followed" }],
  ])("%i means %o", async (status, meaning) => {
    receiver.answerWith((_request, response) => void response.writeHead(status).end());
    expect(await channelFor(receiver.url).send(job, never)).toEqual(meaning);
  });

  test.each([301, 302, 303, 307, 308])("does not follow a redirect, %i", async (status) => {
    receiver.answerWith((_request, response) => {
      response.writeHead(status, { location: `${receiver.url}&again` }).end();
    });
    expect(await channelFor(receiver.url).send(job, never)).toMatchObject({ cause: "misconfigured" });
    expect(receiver.requests).toHaveLength(1);
  });

  test("Retry-After is respected, in seconds, up to an hour", async () => {
    const asked = async (retryAfter: string) => {
      receiver.answerWith(
        (_request, response) => void response.writeHead(429, { "retry-after": retryAfter }).end(),
      );
      const answer = await channelFor(receiver.url).send(job, never);
      return answer.outcome === "retry" ? answer.afterMs : "no retry";
    };
    expect(await asked("7")).toBe(7_000);
    expect(await asked("0")).toBe(0);
    expect(await asked("999999999999999")).toBe(3_600_000);
    expect(await asked("soon")).toBeUndefined();
    expect(await asked("-5")).toBeUndefined();
    const inAMinute = await asked(new Date(Date.now() + 60_000).toUTCString());
    expect(inAMinute).toBeGreaterThan(30_000);
    expect(inAMinute).toBeLessThan(90_000);
    expect(await asked(new Date(0).toUTCString())).toBe(0);
  });

  test("gives up a silent receiver at the timeout", async () => {
    receiver.answerWith(() => undefined);
    expect(await channelFor(receiver.url, 150).send(job, never)).toEqual({
      outcome: "retry",
      reason: "no answer within 150 ms",
    });
  });

  test("retries a receiver that is down, or hangs up", async () => {
    const nowhere = `http://127.0.0.1:${await freePort()}/`;
    expect(await channelFor(nowhere).send(job, never)).toEqual({ outcome: "retry", reason: "ECONNREFUSED" });
    receiver.answerWith((_request, _response, socket) => void socket.resetAndDestroy());
    expect(await channelFor(receiver.url).send(job, never)).toMatchObject({ outcome: "retry" });
    receiver.answerWith((_request, _response, socket) => void socket.end("what?\r\n\r\n"));
    expect(await channelFor(receiver.url).send(job, never)).toMatchObject({ outcome: "retry" });
  });

  test("reads little of a huge answer and uses its status", async () => {
    let written = 0;
    let isOver = false;
    receiver.answerWith((_request, response) => {
      response.writeHead(200);
      response.on("close", () => (isOver = true));
      const more = (): void => {
        while (written < 200_000_000 && !isOver) {
          written += 65_536;
          if (!response.write(Buffer.alloc(65_536))) return void response.once("drain", more);
        }
      };
      more();
    });
    expect(await channelFor(receiver.url).send(job, never)).toEqual({ outcome: "taken" });
    await waitFor(() => isOver, { what: "the connection to be closed" });
    expect(written).toBeLessThan(100_000_000);
  });

  test("uses the status of an answer whose body never ends, or breaks off", async () => {
    receiver.answerWith((_request, response) => {
      response.writeHead(200);
      response.write("to be continued");
    });
    const channel = channelFor(receiver.url, 60_000);
    expect(await channel.send(job, never)).toEqual({ outcome: "taken" });
    receiver.answerWith((_request, response, socket) => {
      response.writeHead(503, { "content-length": "100" });
      response.write("short", () => socket.destroy());
    });
    expect(await channel.send(job, never)).toEqual({ outcome: "retry", reason: "HTTP 503" });
  });
});
