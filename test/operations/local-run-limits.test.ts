// Checks the local run's defaults against the services' own settings: nobody who tries Petrel on one machine may hit a
// limit meant for a stranger's address.
import { expect, test } from "vitest";
import { assignPorts } from "../../deploy/local/src/ports/local-ports.js";
import { describeServices } from "../../deploy/local/src/processes/service-specs.js";
import { readPushNodeConfig } from "../../services/push-node/src/config.js";
import { settingsOf } from "../support/containers/service-settings.js";

function environmentsWith(environment: Readonly<Record<string, string>>) {
  return describeServices({
    repositoryRoot: "/petrel",
    ports: assignPorts(undefined, { nodes: 2, collects: 1, dispatchers: 1 }),
    redisEnvironment: { REDIS_URL: "redis://127.0.0.1:1", REDIS_PASSWORD_FILE: "f" },
    secretFiles: {
      producerKeys: "a",
      keyEncryption: "b",
      apiKey: "c",
      apnsKey: "d",
      apnsKnownKeys: "e",
      vapidKey: "v",
      redisPassword: "f",
      wechatApps: "h",
      wechatSimulatedApps: "i",
    },
    apnsKey: { keyId: "k", teamId: "t" },
    topicRules: "g",
    environment,
  });
}

const limitsByAddress = new Set(
  Object.values(settingsOf)
    .flatMap((schema) => Object.values(schema).map(({ env }) => env))
    .filter((name) => /_PER_ADDRESS_PER_(SECOND|MINUTE)$/.test(name)),
);

test("every rate limit per address is off", () => {
  expect(limitsByAddress.size).toBeGreaterThanOrEqual(3);
  for (const { name, environment } of environmentsWith({})) {
    for (const limit of limitsByAddress)
      expect([name, limit, environment[limit]]).toEqual([name, limit, "0"]);
  }
});

test("the user's own environment wins", () => {
  for (const { environment } of environmentsWith({ REQUESTS_PER_ADDRESS_PER_SECOND: "7" })) {
    expect(environment["REQUESTS_PER_ADDRESS_PER_SECOND"]).toBe("7");
  }
});

test("one address may use all slots, and all handshakes that come at once", () => {
  for (const { kind, environment } of environmentsWith({})) {
    if (kind !== "push-node") continue;
    const node = readPushNodeConfig({ ...environment, PORT: "1" });
    expect(node.maxPendingPerAddress).toBe(node.maxPendingSockets);
    expect(node.maxUnauthenticatedPerAddress).toBe(node.maxUnauthenticated);
    const waiting = (node.connectsPerSecond * node.connectWaitMs) / 1_000;
    expect(node.maxPendingSockets).toBeGreaterThan(waiting);
  }
});
