// Bench: what a delivery costs when one message goes to many, beside others in the same run; and a broadcast's effect on
// single messages.
// Guarantees: everyone's deliveries are checked: all of them, once, in one order; what is not so is shown.
import { writeFile } from "node:fs/promises";
import { FAN_OUT_HELP, readFanOutOptions, type FanOutOptions } from "./fan-out/fan-out-options.js";
import { fanOutJson } from "./fan-out/fan-out-json.js";
import { fanOutTable } from "./fan-out/fan-out-table.js";
import { runBroadcast } from "./fan-out/run-broadcast.js";
import { runFanOut } from "./fan-out/run-fan-out.js";

async function main(options: FanOutOptions): Promise<void> {
  const say = (line: string): void =>
    void (options.json === "-" ? process.stderr : process.stdout).write(`${line}\n`);
  const save = async (json: string): Promise<void> => {
    if (options.json === "-") process.stdout.write(`${json}\n`);
    else if (options.json !== undefined) await writeFile(options.json, `${json}\n`);
  };
  if (options.broadcast) {
    await save(JSON.stringify(await runBroadcast(options, say), undefined, 2));
    return;
  }
  const all = await runFanOut(options, say);
  for (const { title, results } of all) say(`\n${title}\n${fanOutTable(results)}`);
  await save(fanOutJson(all));
}

/** Each process that is started is ended with this one. */
process.setMaxListeners(100);
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(1));
try {
  const options = readFanOutOptions(process.argv.slice(2));
  if (options === undefined) process.stdout.write(FAN_OUT_HELP);
  else await main(options);
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
