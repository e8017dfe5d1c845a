// Checks docs/operate/configuration.md against the schemas that read the environment.
// Guarantees: every variable of every service, with its default and meaning, and no other; what several share stands once. PETREL_UPDATE_DOCS=1
// rewrites the page.
import { readFileSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { documentConfig, type Schema } from "@petrel/shared/kernel/config";
import { authConfigSchema } from "../../services/auth/src/config.js";
import { collectConfigSchema } from "../../services/collect/src/config.js";
import { consoleConfigSchema } from "../../services/console/src/config.js";
import { dispatchSettings } from "../../services/dispatch/src/config.js";
import { pushNodeSettings } from "../../services/push-node/src/config.js";

const page = new URL("../../docs/operate/configuration.md", import.meta.url);
const services: readonly (readonly [string, Schema])[] = [
  ["auth", authConfigSchema],
  ["collect", collectConfigSchema],
  ["dispatch", dispatchSettings],
  ["push-node", pushNodeSettings],
  ["console", consoleConfigSchema],
];

/** A row of the page -> the services that have it. */
function servicesByRow(): ReadonlyMap<string, readonly string[]> {
  const byRow = new Map<string, string[]>();
  for (const [name, schema] of services) {
    for (const row of documentConfig(schema)) byRow.set(row, [...(byRow.get(row) ?? []), name]);
  }
  return byRow;
}

function expected(): string {
  const byRow = servicesByRow();
  const shared = [...byRow].filter(([, names]) => names.length > 1);
  const sharedRows = shared.map(([row, names]) => {
    const who = names.length === services.length ? "all" : names.join(", ");
    return row.replace(/^(\| `\w+` \|)/, `$1 ${who} |`);
  });
  const parts = services.map(([name, schema]) => {
    const own = documentConfig(schema).filter((row) => byRow.get(row)?.length === 1);
    return [`## ${name}`, "", "| variable | default | |", "|---|---|---|", ...own, ""].join("\n");
  });
  return [
    "# Configuration",
    "",
    "For operators who configure the services. Every service reads its environment once, at its start. A wrong value is",
    "named at once, and the service does not start. One line break at the end of a value is ignored, since a Secret that was",
    "made from a file has one. The tables are generated from the schemas that read the values (`services/*/src/config.ts`).",
    "`npm start` has settings of its own: see [local-run.md](../start/local-run.md).",
    "",
    "## Several services",
    "",
    "| variable | services | default | |",
    "|---|---|---|---|",
    ...sharedRows,
    "",
    ...parts,
  ].join("\n");
}

test("the page lists what the schemas read", () => {
  if (process.env["PETREL_UPDATE_DOCS"] === "1") writeFileSync(page, expected());
  expect(readFileSync(page, "utf8")).toBe(expected());
});
