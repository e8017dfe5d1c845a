// The console's producer key, from the file that its environment names.
// Guarantees: one line of the form `key.secret`, or an error that names the file and never its content.
import { readFileSync } from "node:fs";
import { ConfigError } from "@petrel/shared/kernel/config";
import { describeError } from "@petrel/shared/kernel/errors";

/**
 * @returns the text to put after `Bearer`
 * @throws ConfigError
 */
export function readKeyFile(path: string): string {
  let content: string;
  try {
    content = readFileSync(path, "utf8").trim();
  } catch (error) {
    throw new ConfigError(`API_KEY_FILE cannot be read: ${describeError(error)}`);
  }
  if (!/^[^\s.]+\.\S+$/.test(content)) {
    throw new ConfigError(`API_KEY_FILE must hold one line, key.secret; ${path} does not`);
  }
  return content;
}
