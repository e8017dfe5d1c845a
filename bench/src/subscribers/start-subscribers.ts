// Bench: the subscribers of one server, spread over load processes.
// Guarantees: resolves when all are subscribed; `close` leaves no process behind, nor does the end of this one.
import { fork, type ChildProcess } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { LedgerReport } from "./delivery-ledger.js";
import type { FromLoadProcess, ToLoadProcess } from "./load-messages.js";
import type { Entrance } from "./raw-subscriber.js";

/** The built file, whether this one runs built or not. */
const SCRIPT = fileURLToPath(new URL("../../dist/subscribers/subscriber-process.js", import.meta.url));

export interface RoundToCome {
  readonly first: number;
  readonly messages: number;
  /** Of all subscribers together. */
  readonly deliveriesOf: (entrance: Entrance) => number;
}

export interface Subscribers {
  /** Call before the first message of a round. */
  readonly begin: (round: RoundToCome) => Promise<void>;
  /** Resolves when every subscriber has message `n`, where all are of one topic. */
  readonly whenSeen: (n: number) => Promise<void>;
  /** Resolves with true when all deliveries of the round are there, with false at the deadline. */
  readonly whenAll: (deadlineMs: number) => Promise<boolean>;
  readonly report: () => Promise<LedgerReport[]>;
  /** All connections go, with a goodbye; the processes stay. */
  readonly leave: () => Promise<void>;
  /** All come (again); resolves when they are subscribed. */
  readonly connect: () => Promise<void>;
  readonly close: () => Promise<void>;
}

export interface StartSubscribersOptions {
  /** False: only the processes, until `connect` is called. */
  readonly connects?: boolean;
  /** Connections that each process opens at the same time. */
  readonly atATime?: number;
}

const CONNECT_AT_A_TIME = 64;

export async function startSubscribers(
  entrances: readonly Entrance[],
  processCount: number,
  { connects = true, atATime = CONNECT_AT_A_TIME }: StartSubscribersOptions = {},
): Promise<Subscribers> {
  const processes = Array.from({ length: processCount }, (_, p) =>
    startLoadProcess(entrances.filter((_, i) => i % processCount === p)),
  ).filter(({ entrances }) => entrances.length > 0);
  const close = async (): Promise<void> => {
    await Promise.all(processes.map((one) => one.close()));
  };
  const connect = async (): Promise<void> => {
    await Promise.all(
      processes.map((one) => one.ask({ kind: "connect", entrances: one.entrances, atATime }, "connected")),
    );
  };
  try {
    if (connects) await connect();
  } catch (error) {
    await close();
    throw error;
  }
  return {
    begin: async ({ first, messages, deliveriesOf }) => {
      await Promise.all(
        processes.map(async (one) => {
          const deliveries = one.entrances.reduce((sum, entrance) => sum + deliveriesOf(entrance), 0);
          one.forget();
          const round = { first, messages, deliveries, tellAt: one.entrances.length };
          await one.ask({ kind: "round", round }, "listening");
        }),
      );
    },
    whenSeen: async (n) => {
      await Promise.all(processes.map((one) => one.whenSeen(n)));
    },
    whenAll: async (deadlineMs) => {
      const all = Promise.all(processes.map((one) => one.whenAll())).then(() => true);
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<boolean>((resolve) => (timer = setTimeout(resolve, deadlineMs, false)));
      const inTime = await Promise.race([all, late]);
      clearTimeout(timer);
      return inTime;
    },
    connect,
    leave: async () => {
      await Promise.all(processes.map((one) => one.ask({ kind: "leave" }, "left")));
    },
    report: async () => {
      const answers = await Promise.all(processes.map((one) => one.ask({ kind: "report" }, "report")));
      return answers.map(({ report }) => report);
    },
    close,
  };
}

type Answer<Kind extends FromLoadProcess["kind"]> = Extract<FromLoadProcess, { kind: Kind }>;

interface LoadProcess {
  readonly entrances: readonly Entrance[];
  readonly ask: <Kind extends FromLoadProcess["kind"]>(
    message: ToLoadProcess,
    kind: Kind,
  ) => Promise<Answer<Kind>>;
  readonly whenSeen: (n: number) => Promise<void>;
  readonly whenAll: () => Promise<void>;
  /** Of the round before. */
  readonly forget: () => void;
  readonly close: () => Promise<void>;
}

function startLoadProcess(entrances: readonly Entrance[]): LoadProcess {
  // Not with what this process was started with, such as a test runner's own modules.
  const child: ChildProcess = fork(SCRIPT, { execArgv: [], stdio: ["ignore", "ignore", "inherit", "ipc"] });
  const killWithUs = (): void => void child.kill("SIGKILL");
  process.once("exit", killWithUs);
  let awaited: { kind: string; resolve: (answer: FromLoadProcess) => void } | undefined;
  let seen = new Set<number>();
  let waiting = new Map<number, () => void>();
  let isAll = false;
  let tellAll: (() => void) | undefined;
  let fail: (error: Error) => void = () => undefined;
  const failed = new Promise<never>((_resolve, reject) => (fail = reject));
  // Whoever waits for this process gets it; if nobody does, nothing is lost.
  failed.catch(() => undefined);
  const exited = new Promise<void>((resolve) => {
    child.once("exit", () => {
      fail(new Error("a load process ended"));
      resolve();
    });
  });
  child.on("message", (message: FromLoadProcess) => {
    if (message.kind === "failed") fail(new Error(message.why));
    else if (message.kind === "seen") {
      seen.add(message.n);
      waiting.get(message.n)?.();
    } else if (message.kind === "all") {
      isAll = true;
      tellAll?.();
    } else if (message.kind === awaited?.kind) awaited.resolve(message);
  });
  const orFailed = <T>(start: (resolve: (value: T) => void) => void): Promise<T> =>
    Promise.race([failed, new Promise<T>((resolve) => start(resolve))]);
  return {
    entrances,
    ask: <Kind extends FromLoadProcess["kind"]>(message: ToLoadProcess, kind: Kind) =>
      orFailed<Answer<Kind>>((resolve) => {
        awaited = { kind, resolve: (answer) => resolve(answer as Answer<Kind>) };
        child.send(message);
      }),
    whenSeen: (n) =>
      orFailed<void>((resolve) => {
        if (seen.has(n)) resolve();
        else waiting.set(n, resolve);
      }),
    whenAll: () =>
      orFailed<void>((resolve) => {
        if (isAll) resolve();
        else tellAll = resolve;
      }),
    forget: () => {
      seen = new Set();
      waiting = new Map();
      isAll = false;
      tellAll = undefined;
    },
    close: async () => {
      child.kill("SIGKILL");
      await exited;
      process.off("exit", killWithUs);
    },
  };
}
