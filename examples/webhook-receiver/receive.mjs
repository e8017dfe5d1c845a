// Receives Petrel's webhook: believes only what is signed, and handles each event once.
// Usage: PETREL_WEBHOOK_SECRET=whsec_… PORT=8090 node receive.mjs. While the secret is rotated: both, with a space.
import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";

const { PETREL_WEBHOOK_SECRET = "", PORT = "8090" } = process.env;
const keys = PETREL_WEBHOOK_SECRET.split(" ").map((secret) =>
  Buffer.from(secret.replace("whsec_", ""), "base64"),
);
/** An event may come twice, with the same id. (Keep them where you keep what you do about them.) */
const handled = new Set();

function handle({ id, type, at, user, topic, message, data }) {
  if (handled.has(id)) return;
  handled.add(id);
  console.log([at, type, user ?? topic, message, data.reason?.code].filter(Boolean).join(" "));
}

function isFromPetrel(headers, body) {
  const { "webhook-id": id, "webhook-timestamp": at, "webhook-signature": signatures = "" } = headers;
  // An old one may be somebody's copy.
  if (!(Math.abs(Date.now() / 1_000 - Number(at)) <= 300)) return false;
  const expected = keys
    .filter((key) => key.length > 0)
    .map((key) => createHmac("sha256", key).update(`${id}.${at}.`).update(body).digest());
  return signatures.split(" ").some((signature) => {
    const given = Buffer.from(signature.replace(/^v1,/, ""), "base64");
    return expected.some((one) => given.length === one.length && timingSafeEqual(given, one));
  });
}

createServer(async (request, response) => {
  const parts = [];
  for await (const part of request) parts.push(part);
  // The bytes as they came: a parsed and written body is another one.
  const body = Buffer.concat(parts);
  if (request.method !== "POST" || !isFromPetrel(request.headers, body)) {
    response.writeHead(401).end();
    return;
  }
  const { type, data } = JSON.parse(body.toString());
  if (type === "events") data.items.forEach(handle);
  // Any 2xx: they are not sent again. Whoever fails answers 5xx, and gets them once more.
  response.writeHead(204).end();
}).listen(Number(PORT), "127.0.0.1", () => console.log("listening on", PORT));
