// The APNs simulator's environment.
// Guarantees: validated and frozen; its variables have names of their own, so that a user's APNS_… for dispatch never
// apply to it.
import { commonSettings, portSetting } from "@petrel/shared/kernel/common-settings";
import { integer, optionalText, text } from "@petrel/shared/kernel/config";

export const apnsSimulatorConfigSchema = {
  ...commonSettings,
  host: text("HOST", "address to listen on; anyone who can reach it may change its answers", {
    default: "127.0.0.1",
  }),
  port: portSetting(7104),
  tlsPort: integer("APNS_SIMULATOR_TLS_PORT", "port for providers, HTTP/2 over TLS", {
    default: 7106,
    min: 1,
    max: 65_535,
  }),
  keysFile: text(
    "APNS_SIMULATOR_KEYS_FILE",
    "JSON file with the provider keys that are known: `[{ keyId, teamId, publicKey (PEM), environment? }]`",
  ),
  certificateFile: optionalText(
    "APNS_SIMULATOR_CERTIFICATE_FILE",
    "PEM file of the server's certificate; by default that of deploy/local/certificates",
  ),
  certificateKeyFile: optionalText("APNS_SIMULATOR_CERTIFICATE_KEY_FILE", "PEM file of its key"),
  clientAuthorityFile: optionalText(
    "APNS_SIMULATOR_CLIENT_CA_FILE",
    "PEM file of the authority behind providers' certificates; without it only provider tokens are accepted",
  ),
} as const;
