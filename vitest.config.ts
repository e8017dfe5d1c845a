import { fileURLToPath } from "node:url";
import { defineConfig, type TestProjectConfiguration } from "vitest/config";
import { furtherServers, isInstalled } from "./shared/src/testing/redis/further-servers.js";
import { runBuiltTests } from "./test/support/build-tests.js";
import { longestFirst } from "./test/support/longest-first.js";

const at = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

/** `npm test` has just built: Node loads what was built in a third of the time. By hand, a file sees the sources. */
const isBuilt = process.env["PETREL_TEST_BUILT"] === "1";
const resolve = {
  alias: [
    { find: /^@petrel\/shared\/(.*)$/, replacement: `${at("shared/src")}/$1.ts` },
    { find: /^@petrel\/client$/, replacement: at("clients/browser/src/client.ts") },
    { find: /^@petrel\/server$/, replacement: at("clients/server/src/petrel.ts") },
  ],
};

/** What every project has. */
const common = {
  ...(isBuilt ? { server: { deps: { external: [/\/\.cache\/built-tests-/] } } } : {}),
  // Before any test is timed: fetches Redis where a machine has none, and makes tests and services quick to load.
  globalSetup: [
    at("shared/src/testing/redis/prepare-redis.ts"),
    ...(isBuilt ? [at("test/support/prepare-built-run.ts")] : []),
  ],
  // Before each file.
  setupFiles: [at("test/support/real-module-paths.ts"), at("shared/src/testing/faults/seed-properties.ts")],
  // Generous, as every deadline of a test: only a failure waits for it.
  testTimeout: 120_000,
  hookTimeout: 180_000,
};

/** These count what lives in their process, or use up what it may have: each in a process of its own. */
const alone = [
  "services/collect/src/events/waiting-requests.test.ts",
  "services/push-node/src/connection/connection-memory.test.ts",
  "shared/src/kernel/common-tick.test.ts",
  "shared/src/kernel/logging/out-of-files.test.ts",
  "shared/src/kernel/pause.test.ts",
];

const realtime = "**/*.realtime.test.ts";
const notOurs = ["**/{node_modules,dist,.cache}/**"];

const plugins = isBuilt ? [runBuiltTests()] : [];

/** `npm run test:full`: the stated sizes. */
const isFull = process.env["PETREL_TEST_SIZE"] === "full";
/**
 * More than there are cores: most of their time these wait for a lease, a restart, a deadline. At full size they work,
 * and beside eight others each would be a test of a machine that is too small.
 */
const MANY_WORKERS = isFull ? 2 : 9;

/** A worker serves one project and loads its own code, so whatever can share a process is one project. */
const onDefaultServer: TestProjectConfiguration[] = [
  {
    resolve,
    plugins,
    test: {
      ...common,
      name: "alone",
      include: alone,
      sequence: { groupOrder: 1 },
      maxWorkers: MANY_WORKERS,
    },
  },
  {
    resolve,
    plugins,
    test: {
      ...common,
      name: "mixed",
      include: ["**/*.test.ts"],
      exclude: [...notOurs, ...alone, realtime],
      isolate: false,
      sequence: { groupOrder: 1 },
      maxWorkers: MANY_WORKERS,
    },
  },
  {
    resolve,
    plugins,
    // What watches the real clock says so in its name, and may try again: in sight, and nothing else may. They
    // mostly wait: side by side, after all the others, they have the machine to themselves.
    test: {
      ...common,
      name: "realtime",
      include: [realtime],
      exclude: notOurs,
      retry: 2,
      sequence: { groupOrder: 2 },
      maxWorkers: 3,
    },
  },
];

/** What Redis itself decides: repeated on each further server. */
const onEachServer = [
  "shared/src/redis/**/*.test.ts",
  "test/faults/redis/redis-restart.test.ts",
  "test/faults/redis/redis-cluster-failover.test.ts",
  "test/faults/redis/redis-sentinel-failover.test.ts",
  "test/faults/redis/redis-planned-failover.test.ts",
];
/** In `npm run test:full`: the other fault flows, and what stands closest to the stores. */
const onEachServerInFull = [
  "services/{collect,dispatch,push-node}/src/**/*.test.ts",
  "test/faults/{cut-link,dispatcher-takeover,kill-services,paused-node,rolling-restart.realtime}.test.ts",
  "test/faults/redis/redis-full.test.ts",
  "test/flows/{erase-person,offline-and-resume}.test.ts",
  "test/flows/sessions/revocation-redis-cluster.test.ts",
  "test/phones/fallback.test.ts",
];
/** The wheels' servers are built without TLS. */
const needsTls = ["shared/src/redis/connection/redis-access.test.ts"];

/**
 * PETREL_TEST_SERVERS, which `npm run test:servers` and `test:full` set: `installed` repeats on what is there, `required`
 * fails without all of them. Unset, as for `npm test` or a single file by hand, nothing is repeated.
 */
function furtherProjects(): TestProjectConfiguration[] {
  const asked = process.env["PETREL_TEST_SERVERS"];
  if (asked === undefined || asked === "") return [];
  const missing = furtherServers.filter((server) => !isInstalled(server)).map(({ name }) => name);
  if (missing.length > 0) {
    const line = `not installed, left out: ${missing.join(", ")} (npm run test:install-servers)`;
    if (asked === "required") throw new Error(line);
    process.stdout.write(`\ntests on further servers: ${line}\n\n`);
  }
  const include = isFull ? [...onEachServer, ...onEachServerInFull] : onEachServer;
  return furtherServers.filter(isInstalled).map(({ name }) => ({
    resolve,
    plugins,
    test: {
      ...common,
      name,
      include,
      exclude: needsTls,
      isolate: false,
      env: { PETREL_TEST_REDIS_SERVER: name },
      sequence: { groupOrder: 3 },
      maxWorkers: isFull ? 2 : 4,
    },
  }));
}

export default defineConfig({
  test: {
    maxWorkers: 2,
    sequence: { sequencer: longestFirst(["alone", "mixed", "realtime"]) },
    projects: [...onDefaultServer, ...furtherProjects()],
  },
});
