// Bench: what Petrel costs beside others: CPU, memory and latency, of messages, connections and doing nothing.
// Guarantees: all contenders in one run, rounds in turn, by the kernel's account; what went wrong is shown beside its
// figure.
import { readFile, writeFile } from "node:fs/promises";
import { capacityBlocks } from "./capacity/capacity-page.js";
import { COMPARE_HELP, readCompareOptions, type CompareOptions } from "./compare/compare-options.js";
import { runCompare, type Comparison } from "./compare/run-compare.js";
import { comparisonJson } from "./report/comparison-json.js";
import { drawPlot } from "./report/draw-plot.js";
import { comparisonBlock, comparisonPage } from "./report/summary-table.js";
import { withFigures } from "./report/write-blocks.js";

async function main(options: CompareOptions): Promise<void> {
  const printed = [options.json, options.markdown, options.plot].includes("-");
  const say = (line: string): void => void (printed ? process.stderr : process.stdout).write(`${line}\n`);
  const save = async (file: string | undefined, text: string): Promise<void> => {
    if (file === "-") process.stdout.write(`${text}\n`);
    else if (file !== undefined) await writeFile(file, text);
  };
  const startMs = performance.now();
  const comparison = await runCompare(options, say);
  const page = comparisonPage(comparison);
  if (!printed) say(`\n${page}`);
  await save(options.markdown, page);
  await save(options.json, comparisonJson(comparison));
  await save(options.plot, drawPlot(comparison.workloads));
  if (options.docs) await writeDocs(comparison);
  say(`${((performance.now() - startMs) / 60_000).toFixed(1)} minutes`);
  if (comparison.failed.length > 0) process.exitCode = 1;
}

const docs = new URL("../../docs/", import.meta.url);

async function writeDocs(comparison: Comparison): Promise<void> {
  const write = async (page: string, blocks: Readonly<Record<string, string>>): Promise<void> => {
    const file = new URL(page, docs);
    await writeFile(file, withFigures(await readFile(file, "utf8"), blocks));
  };
  await write("internals/measurements.md", { comparison: comparisonBlock(comparison) });
  await writeFile(new URL("assets/bench.svg", docs), drawPlot(comparison.workloads));
  await write("operate/capacity.md", capacityBlocks(comparison.workloads));
}

/** Each process that is started is ended with this one. */
process.setMaxListeners(300);
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(1));
try {
  const options = readCompareOptions(process.argv.slice(2));
  if (options === undefined) process.stdout.write(COMPARE_HELP);
  else await main(options);
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
