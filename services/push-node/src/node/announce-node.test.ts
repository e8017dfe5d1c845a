// Tests that a node's key is renewed, and what a node learns if it had expired.
// Guarantees: on a real Redis.
import { CommonTicks } from "@petrel/shared/kernel/common-tick";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { findGoneNodes } from "@petrel/shared/redis/nodes/node-presence";
import { openStore, type OpenStore } from "@petrel/shared/testing/redis/open-store";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, beforeAll, expect, test } from "vitest";
import { announceWhileRunning } from "./announce-node.js";

const logger = createLogger({ service: "test", level: "silent" });

let store: OpenStore;
beforeAll(async () => void (store = await openStore()));
afterAll(() => store.close());

test("the key exists while the node runs; an expired one is reported once and set again", async () => {
  let ended = 0;
  const presence = await announceWhileRunning(
    store.scripts,
    new CommonTicks(),
    "n.1",
    600,
    logger,
    () => ended++,
  );
  const firstMs = await store.redis.pexpiretime("petrel:node:n.1");
  await waitFor(async () => (await store.redis.pexpiretime("petrel:node:n.1")) > firstMs, {
    what: "a renewal",
  });
  expect(ended).toBe(0);
  await store.redis.del("petrel:node:n.1");
  await waitFor(() => ended > 0, { what: "word of it" });
  expect(await findGoneNodes(store.redis, ["n.1"])).toEqual([]);
  const againMs = await store.redis.pexpiretime("petrel:node:n.1");
  await waitFor(async () => (await store.redis.pexpiretime("petrel:node:n.1")) > againMs, {
    what: "another renewal",
  });
  expect(ended).toBe(1);
  await presence.stop();
  expect(await findGoneNodes(store.redis, ["n.1"])).toEqual(["n.1"]);
});
