// Bench: what the message archive costs Petrel's own processes: off, on, and required.
// Guarantees: by the kernel's account, from the first message until the archive has the last end, less what the same
// cluster uses in that time while it does nothing; the database's own CPU is told beside it, and not part of it.
import { parseArgs } from "node:util";
import { ARCHIVE_MODES, measureArchive, type ArchiveCost } from "./archive/measure-archive.js";
import { markdownTable } from "./report/workload-table.js";

const HELP = `npm run bench:archive -- [options]

µs of CPU a message of collect, dispatch, the nodes and Redis with the message archive off, on and required; FerretDB's
own beside it.

  --messages 1000     messages in each mode
  --batch 100         messages in one request
  --users 20          connected users who acknowledge
  --idle-seconds 10   idle time of the same cluster, to subtract
`;

function wholeNumber(option: string, text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1) throw new Error(`--${option} ${text}: a number from 1 on`);
  return value;
}

async function main(args: readonly string[]): Promise<void> {
  const text = (standard: string) => ({ type: "string", default: standard }) as const;
  const { values } = parseArgs({
    args: [...args],
    options: {
      messages: text("1000"),
      batch: text("100"),
      users: text("20"),
      "idle-seconds": text("10"),
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return;
  }
  const options = {
    messages: wholeNumber("messages", values.messages),
    batch: wholeNumber("batch", values.batch),
    users: wholeNumber("users", values.users),
    idleSeconds: wholeNumber("idle-seconds", values["idle-seconds"]),
  };
  const costs: ArchiveCost[] = [];
  for (const mode of ARCHIVE_MODES) {
    costs.push(await measureArchive(mode, options));
    process.stdout.write(`${mode}: done in ${costs.at(-1)?.seconds.toFixed(1)} s\n`);
  }
  process.stdout.write(`\n${options.messages} messages, µs CPU a message\n\n${tableOf(costs)}\n`);
}

function tableOf(costs: readonly ArchiveCost[]): string {
  const names = [...new Set(costs.flatMap(({ parts }) => [...parts.keys()]))];
  return markdownTable(
    ["archive", ...names, "Petrel and Redis", "the database"],
    costs.map(({ mode, parts, databaseUs }) => [
      mode,
      ...names.map((name) => (parts.get(name) ?? 0).toFixed(0)),
      `**${[...parts.values()].reduce((sum, us) => sum + us, 0).toFixed(0)}**`,
      databaseUs === undefined ? "–" : databaseUs.toFixed(0),
    ]),
  );
}

/** Each process that is started is ended with this one. */
process.setMaxListeners(100);
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(1));
try {
  await main(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
