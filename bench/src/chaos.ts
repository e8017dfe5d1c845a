// chaos: `npm run chaos`: random faults under load for as long as you like, and whether every promise was kept.
// Guarantees: prints its seed first, so that a run can be reproduced; exit code 1 if a promise was broken.
import { parseArgs } from "node:util";
import { describeVerdict } from "./chaos/describe-verdict.js";
import { runChaos } from "./chaos/run-chaos.js";

const HELP = `npm run chaos -- [options]

Starts a cluster (2 push nodes, 2 dispatchers, 2 collects, auth, Redis with its append-only file), connects users with
the client library, sends messages, and meanwhile kills, pauses, cuts off, stalls and slows its parts at random. In
turn, one at a time: a part is stopped as planned, a user's second device lags, a person is erased, Redis gets a replica,
its clock is stepped, and it comes back with another clock (without a C compiler that is skipped, with a message).
Afterwards a checker compares the recording with docs/send/guarantees.md.

  --minutes N   how long faults and load last (1)
  --seed N      seed of the faults (random); the same seed plans the same faults
  --users N     connected users (100)
  --rate N      messages a second (100)
  --help        this text

Exit code: 0 every promise was kept · 1 one was broken, or the run failed · 2 the command line is wrong`;

function readNumber(name: string, value: string | undefined, fallback: number, least: number): number {
  const number = value === undefined ? fallback : Number(value);
  if (Number.isFinite(number) && number >= least && value !== "") return number;
  process.stderr.write(`--${name} ${value}: not a number of at least ${least}\n\n${HELP}\n`);
  process.exit(2);
}

function readOptions() {
  const number = { type: "string" } as const;
  try {
    return parseArgs({
      options: { minutes: number, seed: number, users: number, rate: number, help: { type: "boolean" } },
    }).values;
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n\n${HELP}\n`);
    process.exit(2);
  }
}

const { minutes, seed, users, rate, help } = readOptions();
if (help === true) {
  process.stdout.write(`${HELP}\n`);
  process.exit(0);
}
const options = {
  seed: readNumber("seed", seed, Math.floor(Math.random() * 2 ** 31), 0),
  durationMs: readNumber("minutes", minutes, 1, 0.1) * 60_000,
  userCount: readNumber("users", users, 100, 1),
  messagesPerSecond: readNumber("rate", rate, 100, 1),
};
const describeCall = (): string =>
  `npm run chaos -- --minutes ${options.durationMs / 60_000} --seed ${options.seed} ` +
  `--users ${options.userCount} --rate ${options.messagesPerSecond}`;
// Ends what it has started, too: paused processes do not react to the terminal's signals.
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(1));
try {
  const result = await runChaos({ ...options, print: (line) => process.stdout.write(`${line}\n`) });
  process.stdout.write(`${describeVerdict(result.verdict)}\n`);
  for (const client of result.stoppedClients) process.stdout.write(`STOPPED ${client}\n`);
  const isGood = result.verdict.violations.length === 0 && result.stoppedClients.length === 0;
  if (!isGood) process.stdout.write(`once more: ${describeCall()}\n`);
  end(isGood ? 0 : 1);
} catch (error) {
  process.stderr.write(`${(error as Error).stack}\nonce more: ${describeCall()}\n`);
  end(1);
}

/** Nobody waits for what a failed run has left under way. */
function end(exitCode: number): void {
  process.stdout.write("", () => process.exit(exitCode));
}
