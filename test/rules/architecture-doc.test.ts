// Checks docs/internals/architecture.md against the code.
// Guarantees: every file it names exists, and each step of the message's way really calls the next or is called by it.
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));
const text = readFileSync(join(root, "docs/internals/architecture.md"), "utf8");
const named = [...text.matchAll(/`((?:services|shared|clients|deploy|docs)\/[\w./-]+\.(?:ts|lua|md))`/g)].map(
  ([, path]) => path ?? "",
);

test("every file that the page names exists", () => {
  expect(named.length).toBeGreaterThan(35);
  for (const path of named) expect(existsSync(join(root, path)), path).toBe(true);
});

test("each of the numbered steps' files opens with its place on the way", () => {
  const steps = [...text.matchAll(/^\d+\. `([^`]+)`/gm)].map(([, path]) => path ?? "");
  expect(steps).toHaveLength(19);
  for (const path of steps) {
    const lines = readFileSync(join(root, path), "utf8").split("\n");
    const [first = ""] = lines.filter((line) => !line.startsWith("#!"));
    expect(first, path).toMatch(/^(\/\/|--) \S/);
  }
});

/** Files reached from `from` by imports, and by scripts run by name. */
function reaches(from: string, to: string, depth: number): boolean {
  if (from === to) return true;
  if (depth === 0 || !from.endsWith(".ts")) return false;
  const source = readFileSync(join(root, from), "utf8");
  const next = [...source.matchAll(/from "([^"]+)"/g)].flatMap(([, name = ""]) => {
    if (name.startsWith("@petrel/shared/")) return `shared/src/${name.slice("@petrel/shared/".length)}.ts`;
    return name.startsWith(".") ? resolve("/", dirname(from), name).slice(1).replace(/\.js$/, ".ts") : [];
  });
  // A script stands beside the store that calls it.
  for (const [, name] of source.matchAll(/"([a-z-]+\.v\d+)"/g)) next.push(`${dirname(from)}/${name}.lua`);
  return next.some((path) => reaches(path, to, depth - 1));
}

test("the files from the request to the script import one another", () => {
  const ways = [
    ["services/collect/src/routes/message-routes.ts", "services/collect/src/accept/prepare-messages.ts"],
    ["services/collect/src/accept/prepare-messages.ts", "services/collect/src/accept/accept-with-retry.ts"],
    ["services/collect/src/accept/accept-with-retry.ts", "shared/src/redis/accept/accept-batch.ts"],
    ["shared/src/redis/accept/accept-batch.ts", "shared/src/redis/accept/accept-plain.v2.lua"],
    ["shared/src/redis/accept/accept-batch.ts", "shared/src/redis/accept/accept.v6.lua"],
    ["services/push-node/src/start-push-node.ts", "shared/src/redis/nodes/node-subscription.ts"],
    ["services/push-node/src/deliver/receive-envelopes.ts", "services/push-node/src/deliver/deliver.ts"],
    ["services/push-node/src/deliver/deliver.ts", "services/push-node/src/connection/encode-text-frame.ts"],
    ["services/push-node/src/deliver/deliver.ts", "services/push-node/src/connection/connection.ts"],
    ["services/push-node/src/app.ts", "services/push-node/src/connect/open-connection.ts"],
    ["services/push-node/src/frames/handle-frame.ts", "services/push-node/src/frames/collect-acks.ts"],
    ["services/push-node/src/frames/collect-acks.ts", "shared/src/redis/inbox/ack-users.ts"],
    ["shared/src/redis/inbox/ack-users.ts", "shared/src/redis/inbox/ack.v4.lua"],
    ["services/dispatch/src/hand-over/read-ready.ts", "shared/src/redis/accept/ready-stream.ts"],
    ["services/dispatch/src/hand-over/route-messages.ts", "shared/src/redis/nodes/node-channel.ts"],
    ["services/dispatch/src/wake/wake-users.ts", "shared/src/redis/wake/wake-users.ts"],
    ["shared/src/redis/wake/wake-users.ts", "shared/src/redis/wake/wake.v3.lua"],
    ["services/dispatch/src/wake/expire-users.ts", "shared/src/redis/inbox/expire-messages.ts"],
    ["services/push-node/src/connect/connect-route.ts", "services/push-node/src/connect/open-connection.ts"],
    [
      "services/push-node/src/connect/open-connection.ts",
      "services/push-node/src/connect/register-connection.ts",
    ],
    ["services/push-node/src/connect/register-connection.ts", "shared/src/redis/routes/connect-routes.ts"],
    ["services/push-node/src/deliver/catch-up.ts", "shared/src/redis/inbox/read-inbox.ts"],
    ["shared/src/redis/topics/topic-publisher.ts", "shared/src/redis/topics/publish-topic.v2.lua"],
    ["services/push-node/src/fan-out/follow-topics.ts", "services/push-node/src/fan-out/repair-topics.ts"],
    ["services/push-node/src/fan-out/repair-topics.ts", "services/push-node/src/fan-out/read-topic-log.ts"],
    ["services/push-node/src/fan-out/read-topic-log.ts", "shared/src/redis/topics/read-topic.ts"],
    ["services/collect/src/topics/read-topic-log.ts", "shared/src/redis/topics/read-topic.ts"],
    ["clients/browser/src/client.ts", "clients/browser/src/delivery/message-delivery.ts"],
    ["clients/browser/src/delivery/message-delivery.ts", "clients/browser/src/delivery/ack-coalescer.ts"],
  ];
  for (const [from = "", to = ""] of ways) {
    expect(named, `${to} is named`).toContain(to);
    expect(reaches(from, to, 2), `${from} -> ${to}`).toBe(true);
  }
});
