// The console's process: a page that shows people what happens.
// Guarantees: the only reader of process.env in this service.
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { ConfigError } from "@petrel/shared/kernel/config";
import { runMain } from "@petrel/shared/service/run-main";
import { readConsoleSettings } from "./config.js";
import { startConsole } from "./start-console.js";

const at = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
const directories = {
  pageDirectory: at("../public/"),
  sdkDirectory: at("../../../clients/browser/dist/"),
};

await runMain({
  name: "console",
  packageFile: new URL("../package.json", import.meta.url),
  read: () => {
    const settings = readConsoleSettings(process.env);
    const { sdkDirectory } = directories;
    if (!existsSync(`${sdkDirectory}client.js`)) {
      throw new ConfigError(`the SDK is not built: there is no client.js in ${sdkDirectory}`);
    }
    return settings;
  },
  stopDeadlineMs: () => 10_000,
  start: (settings, service) => startConsole(settings, service, directories),
});
