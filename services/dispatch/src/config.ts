// dispatch: its environment.
// Guarantees: validated, frozen, and documented by this schema (docs/configuration.md is made from it).
import {
  commonSettings,
  integer,
  optionalText,
  portSetting,
  readConfig,
  redisSettings,
} from "@petrel/shared/kernel/config";

export const dispatchSettings = {
  ...commonSettings,
  ...redisSettings,
  port: portSetting(7103),
  nodeName: optionalText(
    "NODE_NAME",
    "this dispatcher's name, by default the host's; a start appends a fresh mark to it",
  ),
  ackTimeoutMs: integer(
    "ACK_TIMEOUT_MS",
    "how long an acknowledgement may take before the user is looked at again",
    { default: 10_000, min: 100 },
  ),
  leaseMs: integer(
    "LEASE_MS",
    "how long a dispatcher that gives no sign of life keeps its partitions from the others",
    { default: 5_000, min: 300, max: 600_000 },
  ),
  wakeIntervalMs: integer(
    "WAKE_INTERVAL_MS",
    "how often to look for users whose time to be looked at has come",
    {
      default: 250,
      min: 10,
      max: 60_000,
    },
  ),
} as const;

export type DispatchConfig = ReturnType<typeof readDispatchConfig>;

/** @throws ConfigError naming every variable that is wrong */
export function readDispatchConfig(environment: Readonly<Record<string, string | undefined>>) {
  return readConfig(dispatchSettings, environment);
}
