// auth's process: decides who a user is, who may send, and which devices belong to whom.
// Guarantees: the only reader of process.env in this service.
import { runMain } from "@petrel/shared/service/run-main";
import { readAuthSettings } from "./config.js";
import { startAuth } from "./start-auth.js";

await runMain({
  name: "auth",
  packageFile: new URL("../package.json", import.meta.url),
  read: () => readAuthSettings(process.env),
  stopDeadlineMs: () => 10_000,
  start: startAuth,
});
