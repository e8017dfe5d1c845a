// dispatch's process: hands over what waits, and follows up on what nobody acknowledged.
// Guarantees: the only reader of process.env in this service. A stop finishes the steps in progress and frees the
// partitions at once.
import { randomBytes } from "node:crypto";
import { hostname } from "node:os";
import { runMain } from "@petrel/shared/service/run-main";
import { readDispatchSettings } from "./config.js";
import { startDispatch } from "./start-dispatch.js";

await runMain({
  name: "dispatch",
  packageFile: new URL("../package.json", import.meta.url),
  read: () => readDispatchSettings(process.env),
  stopDeadlineMs: () => 15_000,
  identify: ({ config }) => {
    const name = (config.nodeName ?? hostname()).replace(/[^A-Za-z0-9_.-]/g, "-");
    // Random, because several dispatchers may start on one host in the same millisecond.
    const dispatcher = `${name}.${Date.now().toString(36)}${randomBytes(2).toString("hex")}`;
    return { instance: dispatcher, logFields: { dispatcher } };
  },
  servesMetrics: true,
  start: startDispatch,
});
