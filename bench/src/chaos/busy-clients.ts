// chaos: business systems that keep their connections to one collect busy while it is stopped.
// Guarantees: each client has one connection at a time and asks again as soon as it is answered. Every try is recorded;
// how long the connection was idle before it is never understated.
import { Agent, request } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import type { MessageRecorder } from "@petrel/shared/testing/peers/message-recorder";
import type { ServiceProcess } from "@petrel/shared/testing/cluster/service-process";

export interface BusyClientsOptions {
  readonly recorder: MessageRecorder;
  readonly collect: Pick<ServiceProcess, "name" | "url">;
  /** `key.secret` with the scope read. */
  readonly apiKey: string;
  readonly user: string;
  /** How many; twelve by default. */
  readonly clients?: number;
  /** Also ends them. */
  readonly signal: AbortSignal;
}

const CLIENTS = 12;
const PAUSE_MS = 20;
const TURN_MS = 20;
/** Once its connections are refused, real traffic goes elsewhere: so it asks less often here. */
const REFUSED_PAUSE_MS = 250;
const ANSWER_DEADLINE_MS = 8_000;

interface Outcome {
  readonly isKept: boolean;
  readonly status?: number;
  readonly problem?: string;
}

/** @returns ends them; resolves when nothing is under way */
export function startBusyClients(options: BusyClientsOptions): () => Promise<void> {
  const stopping = new AbortController();
  const signal = AbortSignal.any([stopping.signal, options.signal]);
  const all = Array.from({ length: options.clients ?? CLIENTS }, () => askUntil(signal, options));
  return async () => {
    stopping.abort();
    await Promise.all(all);
  };
}

async function askUntil(
  signal: AbortSignal,
  { recorder, collect, apiKey, user }: BusyClientsOptions,
): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const url = `${collect.url}/v1/users/${user}/presence`;
  let answeredAtMs = performance.now();
  // This process reads an answer late while something else holds it up, and to the server the connection is idle.
  let [turnAtMs, turnBeforeMs] = [answeredAtMs, answeredAtMs];
  const turns = setInterval(() => ([turnBeforeMs, turnAtMs] = [turnAtMs, performance.now()]), TURN_MS);
  while (!signal.aborted) {
    const startedAtMs = performance.now();
    const { isKept, status, problem } = await ask(url, apiKey, agent);
    const endedAtMs = performance.now();
    const idleMs = isKept ? startedAtMs - answeredAtMs : undefined;
    recorder.attempted({ target: collect.name, idleMs, startedAtMs, endedAtMs, status, problem });
    answeredAtMs = turnBeforeMs;
    await sleep(problem === undefined ? PAUSE_MS : REFUSED_PAUSE_MS);
  }
  clearInterval(turns);
  agent.destroy();
}

function ask(url: string, apiKey: string, agent: Agent): Promise<Outcome> {
  return new Promise((resolve) => {
    const asking = request(url, { agent, headers: { authorization: `Bearer ${apiKey}` } });
    const timer = setTimeout(() => asking.destroy(new Error("no answer in time")), ANSWER_DEADLINE_MS);
    const end = (outcome: Omit<Outcome, "isKept">): void => {
      clearTimeout(timer);
      resolve({ isKept: asking.reusedSocket, ...outcome });
    };
    const fail = (error: NodeJS.ErrnoException): void => end({ problem: error.code ?? error.message });
    asking.on("error", fail);
    asking.on("response", (response) => {
      response.on("error", fail);
      response.on("end", () => end({ status: response.statusCode ?? 0 }));
      response.resume();
    });
    asking.end();
  });
}
