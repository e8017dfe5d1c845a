// The local run: rules for topics, for users who have none of their own.
// Guarantees: written once, at the first start; a person's changes to it stay.
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { systemErrorCode } from "../local-run-error.js";

/** Used by the console's page and the tutorial: a room where clients may publish, and see each other. */
const rules = { rules: [{ topics: "demo.*", presence: "list", clientPublish: true }] };

/** @returns the file, for `TOPICS_FILE` */
export async function writeTopicRules(directory: string): Promise<string> {
  const file = join(directory, "topics.json");
  try {
    await writeFile(file, `${JSON.stringify(rules, null, 2)}\n`, { flag: "wx" });
  } catch (error) {
    if (systemErrorCode(error) !== "EEXIST") throw error;
  }
  return file;
}
