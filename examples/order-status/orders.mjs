// A shop's backend: tells a customer each new status of an order, and hears from Petrel what became of it.
// Usage: PETREL_COLLECT=URL PETREL_KEY=KEY.SECRET PETREL_WEBHOOK_SECRET=whsec_… PORT=8080 node orders.mjs
import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";
import { Petrel, PetrelError } from "@petrel/server";

const { PETREL_COLLECT, PETREL_KEY, PETREL_WEBHOOK_SECRET = "", PORT = "8080" } = process.env;
const petrel = new Petrel({ collect: PETREL_COLLECT, key: PETREL_KEY });
const webhookKey = Buffer.from(PETREL_WEBHOOK_SECRET.replace("whsec_", ""), "base64");
/** Events that were handled: a webhook may bring one twice. (A shop keeps them in its database.) */
const handled = new Set();

const server = createServer((request, response) => {
  answer(request).then(
    (status) => response.writeHead(status).end(),
    (error) => {
      console.error(String(error));
      response.writeHead(error instanceof PetrelError && error.retryable ? 503 : 500).end();
    },
  );
});
server.listen(Number(PORT), () => console.log("listening on", server.address().port));
process.on("SIGTERM", () => server.close(() => petrel.close()));

async function answer(request) {
  const body = await read(request);
  const [, order] = /^\/orders\/([\w-]{1,40})\/status$/.exec(request.url) ?? [];
  if (request.method === "POST" && order !== undefined) return tell(order, JSON.parse(body.toString()));
  if (request.method === "POST" && request.url === "/petrel") return hear(request.headers, body);
  return 404;
}

/** 202 once Petrel has stored it: from then on it arrives, or we hear why not. */
async function tell(order, { user, status }) {
  const { id } = await petrel.send({
    to: { user },
    data: { order, status },
    // The same status of the same order is one message, however often we are asked to send it.
    idempotencyKey: `order ${order} ${status}`,
    // On the way to somebody who is away only the newest status counts.
    collapseKey: `order ${order}`,
    ttlSeconds: 86_400,
    notification: { title: `Order ${order}`, body: `Your order is ${status}.` },
  });
  console.log("sent", order, status, id);
  return 202;
}

/** Petrel's events, signed by Standard Webhooks. */
function hear(headers, body) {
  if (!isFromPetrel(headers, body)) return 401;
  for (const { id, type, user, message } of JSON.parse(body.toString()).data.items ?? []) {
    if (handled.has(id)) continue;
    handled.add(id);
    console.log("heard", type, user, message);
  }
  return 204;
}

function isFromPetrel(headers, body) {
  const { "webhook-id": id, "webhook-timestamp": at, "webhook-signature": signatures = "" } = headers;
  if (webhookKey.length === 0 || !(Math.abs(Date.now() / 1000 - Number(at)) <= 300)) return false;
  const expected = createHmac("sha256", webhookKey).update(`${id}.${at}.`).update(body).digest();
  return signatures.split(" ").some((signature) => {
    const given = Buffer.from(signature.replace(/^v1,/, ""), "base64");
    return given.length === expected.length && timingSafeEqual(given, expected);
  });
}

async function read(request) {
  const parts = [];
  for await (const part of request) parts.push(part);
  return Buffer.concat(parts);
}
