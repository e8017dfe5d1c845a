// Tests what the sender refuses to connect to, on real sockets.
// Guarantees covered: a name is resolved once, and the socket goes to the address that was checked; a redirect is not
// followed; a connection that its receiver closed while it was idle costs no attempt.
import type { LookupAddress } from "node:dns";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { startWebhookReceiver, type WebhookReceiver } from "../../testing/webhook-receiver.js";
import { createCheckedLookup, createResolver, type ResolveName } from "./checked-lookup.js";
import { WebhookSender } from "./webhook-sender.js";

const never = new AbortController().signal;
const v4 = (address: string): LookupAddress => ({ address, family: 4 });

let receiver: WebhookReceiver;
const senders: WebhookSender[] = [];
beforeEach(async () => void (receiver = await startWebhookReceiver()));
afterEach(async () => {
  for (const sender of senders.splice(0)) sender.close();
  await receiver.close();
});

function open(resolveName: ResolveName = createResolver(1), allowPrivate = false): WebhookSender {
  const sender = new WebhookSender({ timeoutMs: 60_000, allowPrivate, resolveName });
  senders.push(sender);
  return sender;
}

const post = (sender: WebhookSender, url: string) => sender.post({ url, headers: {}, body: "{}" }, never);

/** The receiver's URL under another host. */
const at = (host: string): string => receiver.url.replace("127.0.0.1", host);

describe("never connects to", () => {
  test.each(["127.0.0.1", "2130706433", "0177.0.0.1", "[::ffff:127.0.0.1]", "0.0.0.0"])(
    "%s",
    async (host) => {
      expect(await post(open(), at(host))).toMatchObject({ kind: "refused" });
      expect(receiver.requests).toEqual([]);
    },
  );

  test("a name that resolves to a refused address, as localhost does", async () => {
    expect(await post(open(), at("localhost"))).toMatchObject({
      kind: "refused",
      error: expect.stringMatching(/^localhost is at a private or special address/),
    });
    expect(receiver.requests).toEqual([]);
  });

  test.each(["127.0.0.1", "169.254.169.254", "10.0.0.1", "100.64.0.1"])("a name at %s", async (address) => {
    expect(
      await post(
        open(async () => [v4(address)]),
        at("shop.example"),
      ),
    ).toMatchObject({ kind: "refused" });
  });

  test("one that has a public address, too", async () => {
    const resolveName = async () => [v4("8.8.8.8"), v4("127.0.0.1")];
    expect(await post(open(resolveName), at("shop.example"))).toMatchObject({ kind: "refused" });
  });
});

test("resolves a name once: later answers do not count", async () => {
  // First what may be connected to (here: the receiver, since all may), then something else.
  const answers = ["127.0.0.1", "127.0.0.2"];
  let asked = 0;
  const sender = open(async () => [v4(answers[asked++] ?? "127.0.0.3")], true);
  expect(await post(sender, at("shop.example"))).toMatchObject({ status: 204 });
  expect(asked).toBe(1);
  // The connection is kept, and so is its address.
  expect(await post(sender, at("shop.example"))).toMatchObject({ status: 204 });
  expect(asked).toBe(1);
});

test("refuses a name that changes to a private address at the next look-up", async () => {
  let asked = 0;
  const lookup = createCheckedLookup(async () => [v4(asked++ === 0 ? "8.8.8.8" : "127.0.0.1")], false);
  const ask = () =>
    new Promise((resolve) =>
      lookup("shop.example", {}, (error, address) => resolve(error === null ? address : error.message)),
    );
  // The socket connects to what it is told here, and asks nobody else.
  expect(await ask()).toBe("8.8.8.8");
  expect(await ask()).toBe("shop.example is at a private or special address: 127.0.0.1");
});

test("a redirect is an answer", async () => {
  receiver.answerWith((_request, response) => void response.writeHead(307, { location: receiver.url }).end());
  expect(await post(open(undefined, true), receiver.url)).toEqual({ status: 307, retryAfter: null });
  expect(receiver.requests).toHaveLength(1);
});

test("a connection closed while idle costs no attempt", async () => {
  const sender = open(undefined, true);
  await post(sender, receiver.url);
  let isFirst = true;
  receiver.answerWith((_request, response, socket) => {
    if (isFirst) socket.resetAndDestroy();
    else response.writeHead(200).end();
    isFirst = false;
  });
  expect(await post(sender, receiver.url)).toMatchObject({ status: 200 });
  expect(new Set(receiver.requests.map(({ connection }) => connection)).size).toBe(2);
});

test("an answer without a final status is no answer", async () => {
  receiver.answerWith((_request, _response, socket) => {
    socket.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n");
  });
  expect(await post(open(undefined, true), receiver.url)).toHaveProperty("error");
});
