// The local run: all services, started in one order and stopped in another.
// Guarantees: everything is ready within a minute, or the failure names the service. A stop ends, even if a service
// hangs.
import { setMaxListeners } from "node:events";
import { describeError } from "@petrel/shared/kernel/errors";
import { abortedByAny } from "./link-signals.js";
import { LocalRunError } from "../local-run-error.js";
import { lastLogLines } from "./log-tail.js";
import { startOrder, stopOrder, type ServiceKind } from "./service-specs.js";
import { secondsSince, type SupervisedProcess } from "./supervised-process.js";

export interface SupervisedService {
  readonly kind: ServiceKind;
  readonly process: SupervisedProcess;
}

export interface StartServicesOptions {
  readonly stopAsked: AbortSignal;
  readonly say: (line: string) => void;
  readonly deadlineMs?: number;
}

const logLinesShown = 5;

/** @throws LocalRunError naming the first service that failed, with the end of its log */
export async function startServices(
  services: readonly SupervisedService[],
  { stopAsked, say, deadlineMs = 60_000 }: StartServicesOptions,
): Promise<void> {
  const failed = new AbortController();
  const over = abortedByAny(stopAsked, failed.signal);
  // Each process of a group listens to it.
  setMaxListeners(0, over);
  const timer = setTimeout(() => failed.abort(), deadlineMs);
  try {
    await startGroups(services, over, failed, say);
  } finally {
    clearTimeout(timer);
  }
}

async function startGroups(
  services: readonly SupervisedService[],
  over: AbortSignal,
  failed: AbortController,
  say: (line: string) => void,
): Promise<void> {
  for (const kinds of startOrder) {
    const group = services.filter(({ kind }) => kinds.includes(kind));
    let firstFailure: { readonly process: SupervisedProcess; readonly error: unknown } | undefined;
    await Promise.all(
      group.map(async ({ process }) => {
        const startedAtMs = performance.now();
        try {
          await process.start(over);
          say(`${process.name} … ready (${secondsSince(startedAtMs)})`);
        } catch (error) {
          firstFailure ??= { process, error };
          failed.abort();
        }
      }),
    );
    if (firstFailure !== undefined) throw await explain(firstFailure.process, firstFailure.error);
  }
}

async function explain({ logFile }: SupervisedProcess, error: unknown): Promise<LocalRunError> {
  const lines = await lastLogLines(logFile, logLinesShown);
  const tail = lines.length === 0 ? "its log is empty" : `the end of ${logFile}:`;
  return new LocalRunError(
    [`${describeError(error)}; ${tail}`, ...lines.map((line) => `  ${line}`)].join("\n"),
    {
      cause: error,
    },
  );
}

/** Asks group after group to stop; after the deadline, the rest is killed. */
export async function stopServices(
  services: readonly SupervisedService[],
  say: (line: string) => void,
  deadlineMs = 30_000,
): Promise<void> {
  let stopped = 0;
  const timer = setTimeout(() => {
    say(
      `${services.length - stopped} of the services did not stop within ${deadlineMs / 1000} s: killing them`,
    );
    for (const { process } of services) process.kill();
  }, deadlineMs);
  for (const kind of stopOrder) {
    const group = services.filter((service) => service.kind === kind);
    await Promise.all(
      group.map(async ({ process }) => {
        await process.stop();
        stopped++;
      }),
    );
  }
  clearTimeout(timer);
}
