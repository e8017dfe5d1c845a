// collect's process: accepts messages from business systems.
// Guarantees: the only reader of process.env in this service; a stop first answers the requests in progress.
import { runMain } from "@petrel/shared/service/run-main";
import { readCollectSettings } from "./config.js";
import { startCollect } from "./start-collect.js";

await runMain({
  name: "collect",
  packageFile: new URL("../package.json", import.meta.url),
  read: () => readCollectSettings(process.env),
  stopDeadlineMs: ({ config }) => config.acceptDeadlineMs + 10_000,
  start: startCollect,
});
