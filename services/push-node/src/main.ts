// push-node's process: holds the sockets of users.
// Guarantees: the only reader of process.env in this service; a stop asks every client to move first.
import { hostname } from "node:os";
import { runMain } from "@petrel/shared/service/run-main";
import { readPushNodeSettings } from "./config.js";
import { startPushNode } from "./start-push-node.js";

await runMain({
  name: "push-node",
  packageFile: new URL("../package.json", import.meta.url),
  read: () => readPushNodeSettings(process.env),
  identify: ({ config }) => {
    const name = (config.nodeName ?? hostname()).replace(/[^A-Za-z0-9_.-]/g, "-");
    // A restarted node must never be mistaken for its former self.
    const node = `${name}.${Date.now().toString(36)}`;
    return { instance: node, logFields: { node } };
  },
  stopDeadlineMs: ({ config }) => config.drainWindowMs + 10_000,
  start: startPushNode,
});
