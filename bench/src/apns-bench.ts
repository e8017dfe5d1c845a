// Bench: pushes to the APNs simulator, beside two other widely used clients, in the same run. Also runs ours with
// faults in the middle; the result is shown, whatever it is.
import { parseArgs } from "node:util";
import { clientNames, type ClientName } from "./apns/apns-clients.js";
import { apnsTable, runApns, type ApnsRunResult } from "./apns/apns-run.js";

const { values } = parseArgs({
  options: {
    pushes: { type: "string", default: "20000" },
    "peer-pushes": { type: "string", default: "5000" },
    concurrency: { type: "string", default: "2000" },
    "latency-ms": { type: "string", default: "100" },
    "peer-faults": { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});
if (values.help) {
  process.stdout.write(
    "npm run bench:apns -- [--pushes 20000] [--peer-pushes 5000] [--concurrency 2000] [--latency-ms 100] [--peer-faults]\n",
  );
  process.exit(0);
}

const results: ApnsRunResult[] = [];
async function run(client: ClientName, withFaults: boolean): Promise<void> {
  const name = withFaults ? `${client}, with faults` : client;
  try {
    const result = await runApns({
      client,
      pushes: Number(client === "petrel" ? values.pushes : values["peer-pushes"]),
      concurrency: Number(values.concurrency),
      latencyMs: Number(values["latency-ms"]),
      withFaults,
      deadlineMs: 120_000,
    });
    results.push({ ...result, client: name });
    process.stdout.write(
      `${name}: ${JSON.stringify({ answers: result.answers, swallowed: result.swallowed, refusedByGoaway: result.refusedByGoaway, unanswered: result.unanswered, reasons: result.reasons })}\n`,
    );
  } catch (error) {
    process.stdout.write(`${name}: ${error instanceof Error ? error.message : String(error)}\n`);
  }
}
for (const client of clientNames) await run(client, false);
await run("petrel", true);
if (values["peer-faults"]) for (const client of ["node-apn", "apns2"] as const) await run(client, true);
process.stdout.write(`${apnsTable(results)}\n`);
process.exit(0);
