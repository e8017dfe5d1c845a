// Tests only: which variables each image's program reads.
// Guarantees: uses the schemas themselves, so a name in a manifest that nothing reads is found.
import type { Schema } from "@petrel/shared/kernel/config";
import { apnsSimulatorConfigSchema } from "../../../deploy/local/src/apns-simulator/config.js";
import { authConfigSchema } from "../../../services/auth/src/config.js";
import { collectConfigSchema } from "../../../services/collect/src/config.js";
import { consoleConfigSchema } from "../../../services/console/src/config.js";
import { dispatchSettings } from "../../../services/dispatch/src/config.js";
import { pushNodeSettings } from "../../../services/push-node/src/config.js";

export const imageNames = ["auth", "collect", "dispatch", "push-node", "console", "apns-simulator"] as const;

export type ImageName = (typeof imageNames)[number];

export const settingsOf: Readonly<Record<ImageName, Schema>> = {
  auth: authConfigSchema,
  collect: collectConfigSchema,
  dispatch: dispatchSettings,
  "push-node": pushNodeSettings,
  console: consoleConfigSchema,
  "apns-simulator": apnsSimulatorConfigSchema,
};

export function isImageName(name: string): name is ImageName {
  return (imageNames as readonly string[]).includes(name);
}

/** What is wrong with an environment for one of them: names it does not read, values it refuses. */
export function problemsOf(image: ImageName, environment: Readonly<Record<string, string>>): string[] {
  const byName = new Map(Object.values(settingsOf[image]).map(({ env, setting }) => [env, setting]));
  return Object.entries(environment).flatMap(([name, value]) => {
    const setting = byName.get(name);
    if (setting === undefined) return [`${image} reads no ${name}`];
    if (value === "") return [];
    try {
      setting.parse(value);
      return [];
    } catch (error) {
      return [`${image}: ${name} must be ${error instanceof Error ? error.message : String(error)}`];
    }
  });
}

/** The most ms from the signal to the exit: what `stopDeadlineMs` in each main.ts amounts to. */
export function stopDeadlineMs(image: ImageName, environment: Readonly<Record<string, string>>): number {
  const milliseconds = (name: string): number => {
    const setting = Object.values(settingsOf[image]).find(({ env }) => env === name)?.setting;
    const value = environment[name];
    return value === undefined || value === "" ? Number(setting?.default) : Number(value);
  };
  switch (image) {
    case "push-node":
      return milliseconds("DRAIN_WINDOW_MS") + 10_000;
    case "collect":
      return milliseconds("ACCEPT_DEADLINE_MS") + 10_000;
    case "dispatch":
      return 15_000;
    default:
      return 10_000;
  }
}

/** The text in each main.ts that `stopDeadlineMs` above evaluates. */
export const stopDeadlineSources: Readonly<Record<ImageName, readonly [file: string, text: string]>> = {
  auth: ["services/auth/src/main.ts", "stopDeadlineMs: () => 10_000"],
  collect: [
    "services/collect/src/main.ts",
    "stopDeadlineMs: ({ config }) => config.acceptDeadlineMs + 10_000",
  ],
  dispatch: ["services/dispatch/src/main.ts", "stopDeadlineMs: () => 15_000"],
  "push-node": [
    "services/push-node/src/main.ts",
    "stopDeadlineMs: ({ config }) => config.drainWindowMs + 10_000",
  ],
  console: ["services/console/src/main.ts", "stopDeadlineMs: () => 10_000"],
  "apns-simulator": ["deploy/local/src/apns-simulator/main.ts", "stopDeadlineMs: 10_000"],
};
