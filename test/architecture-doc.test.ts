// Holds docs/architecture.md to the truth.
// Guarantees: every file it names exists, and each step of the message's way really calls or is called by the next.
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const root = fileURLToPath(new URL("..", import.meta.url));
const text = readFileSync(join(root, "docs/architecture.md"), "utf8");
const named = [...text.matchAll(/`((?:services|shared|clients|deploy|docs)\/[\w./-]+\.(?:ts|lua|md))`/g)].map(
  ([, path]) => path ?? "",
);

test("every file that the page names exists", () => {
  expect(named.length).toBeGreaterThan(35);
  for (const path of named) expect(existsSync(join(root, path)), path).toBe(true);
});

test("each of the numbered steps opens with its place on the way", () => {
  const steps = [...text.matchAll(/^\d+\. `([^`]+)`/gm)].map(([, path]) => path ?? "");
  expect(steps).toHaveLength(18);
  for (const path of steps) {
    const lines = readFileSync(join(root, path), "utf8").split("\n");
    const [first = "", second = ""] = lines.filter((line) => !line.startsWith("#!"));
    expect(first, path).toMatch(/^(\/\/|--) \S/);
    expect(second, path).toMatch(/^(\/\/|--)/);
  }
});

/** Files reached from `from` by imports, and by the scripts that are run by name. */
function reaches(from: string, to: string, depth: number): boolean {
  if (from === to) return true;
  if (depth === 0 || !from.endsWith(".ts")) return false;
  const source = readFileSync(join(root, from), "utf8");
  const next = [...source.matchAll(/from "([^"]+)"/g)].flatMap(([, name = ""]) => {
    if (name.startsWith("@petrel/shared/")) return `shared/src/${name.slice("@petrel/shared/".length)}.ts`;
    return name.startsWith(".") ? resolve("/", dirname(from), name).slice(1).replace(/\.js$/, ".ts") : [];
  });
  for (const [, name] of source.matchAll(/"([a-z-]+\.v\d+)"/g))
    next.push(`shared/src/redis/scripts/${name}.lua`);
  return next.some((path) => reaches(path, to, depth - 1));
}

test("the way from the request to the script is one of imports", () => {
  const ways = [
    ["services/collect/src/message-routes.ts", "services/collect/src/accept-request.ts"],
    ["services/collect/src/accept-request.ts", "services/collect/src/accept-message.ts"],
    ["services/collect/src/accept-message.ts", "shared/src/redis/accept-messages.ts"],
    ["shared/src/redis/accept-messages.ts", "shared/src/redis/scripts/accept.v3.lua"],
    ["services/push-node/src/main.ts", "shared/src/redis/node-subscription.ts"],
    ["services/push-node/src/receive-envelopes.ts", "services/push-node/src/deliver.ts"],
    ["services/push-node/src/deliver.ts", "services/push-node/src/encode-text-frame.ts"],
    ["services/push-node/src/deliver.ts", "services/push-node/src/connection.ts"],
    ["services/push-node/src/handle-frame.ts", "services/push-node/src/collect-acks.ts"],
    ["services/push-node/src/collect-acks.ts", "shared/src/redis/ack-users.ts"],
    ["shared/src/redis/ack-users.ts", "shared/src/redis/scripts/ack.v2.lua"],
    ["services/dispatch/src/read-ready.ts", "shared/src/redis/ready-stream.ts"],
    ["services/dispatch/src/route-messages.ts", "shared/src/redis/node-channel.ts"],
    ["services/dispatch/src/wake-users.ts", "shared/src/redis/wake-users.ts"],
    ["shared/src/redis/wake-users.ts", "shared/src/redis/scripts/wake.v2.lua"],
    ["services/dispatch/src/expire-users.ts", "shared/src/redis/expire-messages.ts"],
    ["services/push-node/src/connect-route.ts", "services/push-node/src/open-connection.ts"],
    ["services/push-node/src/open-connection.ts", "services/push-node/src/register-connection.ts"],
    ["services/push-node/src/register-connection.ts", "shared/src/redis/route-store.ts"],
    ["services/push-node/src/catch-up.ts", "shared/src/redis/read-inbox.ts"],
    ["clients/browser/src/client.ts", "clients/browser/src/message-delivery.ts"],
    ["clients/browser/src/message-delivery.ts", "clients/browser/src/ack-coalescer.ts"],
  ];
  for (const [from = "", to = ""] of ways) {
    expect(named, `${to} is named`).toContain(to);
    expect(reaches(from, to, 2), `${from} -> ${to}`).toBe(true);
  }
});
