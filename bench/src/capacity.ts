// node bench/dist/capacity.js FIGURES.json: writes what a message and a connection cost, and what loads need, into
// docs/operate/capacity.md.
// Guarantees: from the figures of one run of the bench (npm run bench -- --json FIGURES.json), and from nothing else.
import { readFile, writeFile } from "node:fs/promises";
import { capacityBlocks } from "./capacity/capacity-page.js";
import type { Comparison } from "./compare/run-compare.js";
import { withFigures } from "./report/write-blocks.js";

const page = new URL("../../docs/operate/capacity.md", import.meta.url);
const [file] = process.argv.slice(2);
try {
  if (file === undefined)
    throw new Error("npm run bench:capacity -- FIGURES.json (npm run bench -- --json FIGURES.json)");
  const { workloads } = JSON.parse(await readFile(file, "utf8")) as Comparison;
  const written = withFigures(await readFile(page, "utf8"), capacityBlocks(workloads));
  await writeFile(page, written);
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
