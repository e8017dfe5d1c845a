// The console's environment.
// Guarantees: validated and frozen; docs/operate/configuration.md is made from this schema.
import { commonSettings, portSetting } from "@petrel/shared/kernel/common-settings";
import { ConfigError, list, optionalText, readConfig, text, url } from "@petrel/shared/kernel/config";
import { readKeyFile } from "./read-key-file.js";
import { parseUrl } from "@petrel/shared/kernel/parse-url";

export const consoleConfigSchema = {
  ...commonSettings,
  host: text(
    "HOST",
    "address to listen on; anyone who can reach it can impersonate any user, so by default only this machine can",
    { default: "127.0.0.1" },
  ),
  port: portSetting(7100),
  authUrl: url("AUTH_URL", "the auth service, which issues the tokens", {
    default: "http://127.0.0.1:7101",
    protocols: ["http", "https"],
  }),
  collectUrl: url("COLLECT_URL", "the collect service, which accepts the messages", {
    default: "http://127.0.0.1:7102",
    protocols: ["http", "https"],
  }),
  servicesCaFile: optionalText(
    "SERVICES_CA_FILE",
    "PEM file of the authorities that signed the services' certificates, for https URLs; the system's by default",
  ),
  servicesCertFile: optionalText(
    "SERVICES_CERT_FILE",
    "PEM file with the console's client certificate, for services that ask for one; with SERVICES_KEY_FILE",
  ),
  servicesKeyFile: optionalText("SERVICES_KEY_FILE", "PEM file with the private key of SERVICES_CERT_FILE"),
  nodeUrls: list("NODE_URLS", "push nodes as the page reaches them: full WebSocket URLs up to /v1/connect", {
    default: ["ws://127.0.0.1:7110/v1/connect"],
  }),
  apiKeyFile: text(
    "API_KEY_FILE",
    "file with `key.secret` of a producer key with the scopes tokens, send and read",
  ),
  apnsSimulatorUrl: optionalText(
    "APNS_SIMULATOR_URL",
    "control API of the local run's APNs simulator; with it the page shows a phone, and the key also needs the scope devices",
  ),
  webPushSimulatorUrl: optionalText(
    "WEB_PUSH_SIMULATOR_URL",
    "control API of the local run's Web Push simulator; with it the page shows a browser, and the key also needs the scope devices",
  ),
  consoleHosts: list(
    "CONSOLE_HOSTS",
    "names besides localhost under which browsers may open the console, such as console.example.test",
    { default: [] },
  ),
} as const;

export interface ConsoleSettings {
  readonly config: ReturnType<typeof readConfig<typeof consoleConfigSchema>>;
  /** The producer key: `key.secret`. */
  readonly credential: string;
}

/**
 * Reads the environment and the file that it names.
 * @throws ConfigError
 */
export function readConsoleSettings(
  environment: Readonly<Record<string, string | undefined>>,
): ConsoleSettings {
  const config = readConfig(consoleConfigSchema, environment);
  for (const nodeUrl of config.nodeUrls) {
    if (!/^wss?:\/\//.test(nodeUrl) || parseUrl(nodeUrl) === undefined) {
      throw new ConfigError(`NODE_URLS must be ws:// or wss:// URLs, not ${JSON.stringify(nodeUrl)}`);
    }
  }
  const { apnsSimulatorUrl } = config;
  if (apnsSimulatorUrl !== undefined && !/^https?:\/\//.test(apnsSimulatorUrl)) {
    throw new ConfigError(`APNS_SIMULATOR_URL must be a URL with http:// or https://`);
  }
  const { webPushSimulatorUrl } = config;
  if (webPushSimulatorUrl !== undefined && !/^https?:\/\//.test(webPushSimulatorUrl)) {
    throw new ConfigError(`WEB_PUSH_SIMULATOR_URL must be a URL with http:// or https://`);
  }
  return { config, credential: readKeyFile(config.apiKeyFile) };
}
