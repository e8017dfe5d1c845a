// main (and the process that tests share) -> here: opens the APNs simulator's TLS port and its control API.
// Guarantees: nothing listens before the configuration, the keys and the certificate are valid; what is open closes with
// the lifecycle.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { readConfig } from "@petrel/shared/kernel/config";
import type { Lifecycle } from "@petrel/shared/kernel/lifecycle/lifecycle";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import { ApnsServer } from "./apns/apns-server.js";
import { apnsSimulatorConfigSchema } from "./config.js";
import { buildControlApp } from "./control/control-app.js";
import { Behaviour } from "./state/behaviour.js";
import { parseKnownKeys } from "./state/known-keys.js";
import { ProviderTokens } from "./state/provider-tokens.js";
import { ReceivedNotifications } from "./state/received-notifications.js";
import { RequestCounts } from "./state/request-counts.js";
import { SimulatedDevices } from "./state/simulated-devices.js";

const at = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
const read = (file: string): string => readFileSync(file, "utf8");

/** @throws ConfigError if the settings do not fit together, or a file cannot be read */
export function readApnsSimulatorSettings(environment: NodeJS.ProcessEnv) {
  const config = readConfig(apnsSimulatorConfigSchema, environment);
  const { certificateFile, certificateKeyFile, clientAuthorityFile } = config;
  return {
    config,
    keys: parseKnownKeys(read(config.keysFile)),
    certificate: read(certificateFile ?? at("../../certificates/certificate.pem")),
    certificateKey: read(certificateKeyFile ?? at("../../certificates/certificate-key.pem")),
    clientAuthority: clientAuthorityFile === undefined ? undefined : read(clientAuthorityFile),
  };
}

export async function startApnsSimulator(
  {
    config,
    keys,
    certificate,
    certificateKey,
    clientAuthority,
  }: ReturnType<typeof readApnsSimulatorSettings>,
  {
    version,
    logger,
    lifecycle,
  }: { readonly version: string; readonly logger: Logger; readonly lifecycle: Lifecycle },
): Promise<void> {
  const now = (): number => Date.now();
  const devices = new SimulatedDevices();
  const behaviour = new Behaviour();
  const notifications = new ReceivedNotifications();
  const counts = new RequestCounts();
  const providerTokens = new ProviderTokens({ keys, now });
  const context = { devices, behaviour, notifications, counts, providerTokens, logger, now };
  const server = new ApnsServer({ ...context, certificate, certificateKey, clientAuthority });
  const app = await buildControlApp({ ...context, version, server });
  lifecycle.onStop("tls", () => server.close());
  await server.listen(config.tlsPort, config.host);
  lifecycle.onStop("http", () => app.close());
  await app.listen({ port: config.port, host: config.host });
  logger.info({ port: config.port, tlsPort: config.tlsPort }, "the APNs simulator listens");
}
