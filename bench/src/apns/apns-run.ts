// Bench, APNs: pushes through one client to the simulator, with or without faults in the middle, and their outcome.
// Guarantees: what a client says of each push is compared with what arrived; nothing is rounded away.
import { fork } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import {
  startApnsSimulator,
  type TestApnsSimulator,
} from "@petrel/shared/testing/cluster/start-apns-simulator";
import { waitFor } from "@petrel/shared/testing/wait-for";
import type { ClientName } from "./apns-clients.js";
import type { SendOrder, SendReport } from "./apns-sender.js";

export interface ApnsRunOptions {
  readonly client: ClientName;
  readonly pushes: number;
  /** Pushes under way at a time. */
  readonly concurrency: number;
  readonly latencyMs: number;
  /** GOAWAY, a black hole and a 503 burst, at a quarter, a half and three quarters. */
  readonly withFaults: boolean;
  readonly deadlineMs: number;
}

export interface ApnsRunResult {
  readonly client: string;
  readonly pushes: number;
  readonly arrived: number;
  /** Reported as taken, but never arrived. */
  readonly falselyTaken: number;
  /** Reported as failed, but arrived. */
  readonly falselyFailed: number;
  readonly reportedFailed: number;
  /** Arrived more than once. */
  readonly repeated: number;
  /** … though no connection left the request without an answer. */
  readonly repeatedWithoutCause: number;
  readonly unanswered: number;
  readonly reasons: Readonly<Record<string, number>>;
  readonly seconds: number;
  readonly cpuUsPerPush: number;
  /** From the simulator: faults that did happen. */
  readonly answers: Readonly<Record<string, number>>;
  readonly swallowed: number;
  readonly refusedByGoaway: number;
  readonly connectionsOpened: number;
}

export async function runApns(options: ApnsRunOptions): Promise<ApnsRunResult> {
  const simulator = await startApnsSimulator({ alone: true });
  try {
    await simulator.setBehaviour({ latencyMs: options.latencyMs });
    const sending = send(simulator, options);
    // The first of these to fail ends the run.
    const faults = options.withFaults ? makeFaults(simulator, options) : Promise.resolve();
    const [report] = await Promise.all([sending, faults]);
    return await judge(simulator, options, report);
  } finally {
    await simulator.stop();
  }
}

async function send(
  simulator: TestApnsSimulator,
  { client, pushes, concurrency, deadlineMs }: ApnsRunOptions,
): Promise<SendReport> {
  const sender = fork(fileURLToPath(new URL("../../dist/apns/apns-sender.js", import.meta.url)), {
    env: { PATH: process.env["PATH"], NODE_EXTRA_CA_CERTS: simulator.caFile },
    execArgv: [],
  });
  const timer = setTimeout(() => sender.kill("SIGKILL"), deadlineMs);
  const ended = once(sender, "exit").then(([code, signal]) => {
    throw new Error(`the sender with ${client} ended without a report (${String(signal ?? code)})`);
  });
  const order: SendOrder = {
    client,
    pushes,
    concurrency,
    endpoint: simulator.endpoint,
    ca: readFileSync(simulator.caFile, "utf8"),
    privateKey: simulator.privateKey,
    keyId: simulator.keyId,
    teamId: simulator.teamId,
  };
  sender.send(order);
  try {
    const [report] = await Promise.race([once(sender, "message"), ended]);
    return report as SendReport;
  } finally {
    clearTimeout(timer);
    ended.catch(() => undefined);
    sender.kill("SIGKILL");
  }
}

async function makeFaults(
  simulator: TestApnsSimulator,
  { pushes, concurrency, deadlineMs }: ApnsRunOptions,
): Promise<void> {
  const taken = async (share: number): Promise<void> => {
    await waitFor(async () => ((await simulator.stats()).answers["200"] ?? 0) >= pushes * share, {
      what: `${share * 100} % of the pushes`,
      deadlineMs,
      everyMs: 10,
    });
  };
  await taken(0.25);
  // Repeated if no request was under way just then: it refused none.
  await waitFor(
    async () => {
      await simulator.setBehaviour({ goaway: { lastStream: "middle" } });
      return (await simulator.stats()).refusedByGoaway > 0;
    },
    { what: "requests that a GOAWAY refuses", deadlineMs, everyMs: 20 },
  );
  await taken(0.5);
  // The phones get what was sent: only the answers are lost.
  await simulator.setBehaviour({ blackhole: { connections: 1, delivering: true } });
  await taken(0.75);
  const times = Math.min(concurrency, Math.floor(pushes / 10));
  const answer = { status: 503, reason: "ServiceUnavailable", retryAfter: 1, times };
  // Repeated if only requests in the black hole met it: nobody saw their answers.
  await waitFor(
    async () => {
      await simulator.setBehaviour({ answer });
      return ((await simulator.stats()).answers["503 ServiceUnavailable"] ?? 0) > 0;
    },
    { what: "requests that are answered with 503", deadlineMs, everyMs: 20 },
  );
}

async function judge(
  simulator: TestApnsSimulator,
  { client, pushes }: ApnsRunOptions,
  report: SendReport,
): Promise<ApnsRunResult> {
  const times = new Map<string, number>();
  const ids = new Map<string, Set<string>>();
  for (const { token, apnsId, times: count } of await simulator.apnsIds()) {
    times.set(token, (times.get(token) ?? 0) + count);
    ids.set(token, (ids.get(token) ?? new Set()).add(apnsId));
  }
  const unanswered = new Set(report.unanswered);
  const repeated = [...times].filter(([, count]) => count > 1).map(([token]) => token);
  // A push that comes again under another id is two for the phone.
  const withoutCause = repeated.filter((token) => !unanswered.has(token) || (ids.get(token)?.size ?? 0) > 1);
  const { answers, swallowed, refusedByGoaway, connections } = await simulator.stats();
  return {
    client,
    pushes,
    arrived: times.size,
    falselyTaken: report.taken.filter((token) => !times.has(token)).length,
    falselyFailed: report.failed.filter((token) => times.has(token)).length,
    reportedFailed: report.failed.length,
    repeated: repeated.length,
    repeatedWithoutCause: withoutCause.length,
    unanswered: unanswered.size,
    reasons: report.reasons,
    seconds: report.seconds,
    cpuUsPerPush: report.cpuNs / 1000 / pushes,
    answers,
    swallowed,
    refusedByGoaway,
    connectionsOpened: connections.opened,
  };
}

export function apnsTable(results: readonly ApnsRunResult[]): string {
  const rows = results.map((result) => [
    result.client,
    String(result.pushes),
    String(result.arrived),
    `${result.falselyTaken} / ${result.falselyFailed}`,
    String(result.reportedFailed),
    `${result.repeated} / ${result.repeatedWithoutCause}`,
    (result.pushes / result.seconds).toFixed(0),
    result.cpuUsPerPush.toFixed(0),
    String(result.connectionsOpened),
  ]);
  const head = [
    "",
    "pushes",
    "arrived",
    "wrong: taken / failed",
    "reported failed",
    "twice / without cause",
    "per second",
    "µs CPU/push",
    "connections",
  ];
  const widths = head.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)),
  );
  return [head, ...rows]
    .map((row) => row.map((cell, column) => cell.padStart(widths[column] ?? 0)).join("  "))
    .join("\n");
}
