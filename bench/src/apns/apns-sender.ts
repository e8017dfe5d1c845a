// Bench, APNs: a process that sends pushes with one client, so that its CPU time can be read separately.
// Guarantees: `concurrency` pushes are under way at any time; the client's report on each goes back to the parent.
import { randomUUID } from "node:crypto";
import { openClient, type ClientName, type ClientOptions } from "./apns-clients.js";
import { cpuNanoseconds } from "../process-cpu.js";

export interface SendOrder extends ClientOptions {
  readonly client: ClientName;
  readonly pushes: number;
  readonly concurrency: number;
}

export interface SendReport {
  readonly taken: readonly string[];
  readonly failed: readonly string[];
  /** Tokens whose push was once left without an answer. */
  readonly unanswered: readonly string[];
  /** How often each reason was given. */
  readonly reasons: Readonly<Record<string, number>>;
  readonly seconds: number;
  readonly cpuNs: number;
}

/** 64 hex digits: the push's number. */
export function tokenOf(number: number): string {
  return number.toString(16).padStart(64, "0");
}

process.once("message", (order: SendOrder) => {
  void send(order).then((report) => process.send?.(report, () => process.disconnect()));
});

async function send({ client: name, pushes, concurrency, ...options }: SendOrder): Promise<SendReport> {
  const client = openClient(name, options);
  const taken: string[] = [];
  const failed: string[] = [];
  const unanswered: string[] = [];
  const reasons: Record<string, number> = {};
  const beganAt = performance.now();
  const cpuBefore = cpuNanoseconds(process.pid);
  let next = 0;
  const work = async (): Promise<void> => {
    while (next < pushes) {
      const token = tokenOf(next++);
      const { isTaken, wasUnanswered, reason } = await client.push(token, randomUUID());
      (isTaken ? taken : failed).push(token);
      if (wasUnanswered) unanswered.push(token);
      if (reason !== undefined) reasons[reason] = (reasons[reason] ?? 0) + 1;
    }
  };
  await Promise.all(Array.from({ length: concurrency }, work));
  const seconds = (performance.now() - beganAt) / 1000;
  const cpuNs = cpuNanoseconds(process.pid) - cpuBefore;
  await client.close();
  return { taken, failed, unanswered, reasons, seconds, cpuNs };
}
