// collect's process: takes messages from business systems.
// Guarantees: the only reader of process.env here; a stop first answers what was begun.
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
