// Tests only: `npm start` in this process, on a directory of its own, with a real Redis and pretended services (tiny real
// processes, which note their start and stop, and show their environment).
// Guarantees: ports and data of its own; `close` leaves no process and no file.
import { mkdir, mkdtemp, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  defaultCacheDirectory,
  findRedisServer,
} from "@petrel/shared/embedded-redis/install/find-redis-server";
import { probeRedis } from "@petrel/shared/embedded-redis/resp-probe";
import { freePortRange } from "@petrel/shared/testing/free-port";
import { waitFor } from "@petrel/shared/testing/wait-for";
import type { DevFile } from "../../../deploy/local/src/data/dev-file.js";
import { runLocal } from "../../../deploy/local/src/run-local.js";

const pretendedService = `
const { appendFileSync } = require("node:fs");
const { basename, resolve } = require("node:path");
const kind = basename(__dirname) === "dist" ? basename(resolve(__dirname, "..")) : basename(__dirname);
const name = process.env.NODE_NAME ?? kind;
const note = (event) => appendFileSync(process.env.PRETEND_EVENTS, event + " " + name + "\\n");
if (process.env.PRETEND_BROKEN === kind) {
  const message = process.env.PRETEND_REASON ?? "EKEY";
  console.log(JSON.stringify({ level: 60, msg: "no such key", err: { message } }));
  process.exit(7);
}
process.on("SIGTERM", () => { note("stop"); process.exit(0); });
require("node:http").createServer((request, response) => {
  if (request.url === "/die") process.exit(3);
  if (request.url === "/environment") return response.end(JSON.stringify(process.env));
  response.end("ok");
}).listen(Number(process.env.PORT), process.env.HOST, () => note("start"));
`;

export class PretendedRun {
  readonly data: string;
  lines: string[] = [];
  complaints: string[] = [];
  stop = new AbortController();
  readonly kill = new AbortController();
  running: Promise<number> = Promise.resolve(0);

  private constructor(
    readonly root: string,
    readonly base: number,
  ) {
    this.data = join(root, ".data");
  }

  /** For `beforeAll`: a server may have to be downloaded first. */
  static async prepare(): Promise<void> {
    await findRedisServer({ environment: process.env });
  }

  static async open(): Promise<PretendedRun> {
    const root = await mkdtemp(join(tmpdir(), "petrel-local-"));
    const base = await freePortRange(60);
    for (const kind of ["auth", "collect", "dispatch", "push-node", "console"]) {
      const directory = join(root, "services", kind, "dist");
      await mkdir(directory, { recursive: true });
      await writeFile(join(directory, "main.js"), pretendedService);
    }
    for (const kind of ["apns-simulator", "web-push-simulator", "wechat-simulator"]) {
      const simulator = join(root, "deploy", "local", "dist", kind);
      await mkdir(simulator, { recursive: true });
      await writeFile(join(simulator, "main.js"), pretendedService);
    }
    await symlink(defaultCacheDirectory(), join(root, ".cache"));
    return new PretendedRun(root, base);
  }

  /** For the next start on the same data. */
  again(): void {
    this.lines = [];
    this.stop = new AbortController();
  }

  async close(): Promise<void> {
    this.stop.abort();
    await this.running;
    await rm(this.root, { recursive: true, force: true });
  }

  /** @param args with one node where they do not say otherwise: each process is a Node that starts */
  run(args: string[] = [], environment: Record<string, string> = {}): Promise<number> {
    this.running = runLocal({
      args: ["--nodes", "1", ...args],
      environment: {
        PATH: process.env["PATH"],
        PETREL_PORT_BASE: String(this.base),
        PRETEND_EVENTS: join(this.root, "events"),
        ...environment,
      },
      repositoryRoot: this.root,
      say: (line) => this.lines.push(line),
      complain: (line) => this.complaints.push(line),
      stopAsked: this.stop.signal,
      killAsked: this.kill.signal,
    });
    return this.running;
  }

  said(part: string): boolean {
    return this.lines.some((line) => line.includes(part));
  }

  async untilSaid(part: string): Promise<void> {
    await waitFor(
      () => {
        if (this.complaints.length > 0) throw new Error(this.complaints.join("\n"));
        return this.said(part);
      },
      { what: `the line "${part}"`, deadlineMs: 15_000 },
    );
  }

  /** @param path from the root of this run */
  read(path: string): Promise<string> {
    return readFile(join(this.root, path), "utf8");
  }

  async readJson<T>(path: string): Promise<T> {
    return JSON.parse(await this.read(path)) as T;
  }

  async mode(path: string): Promise<string> {
    return ((await stat(join(this.root, path))).mode & 0o777).toString(8);
  }

  /** The services that have noted this event, in order. */
  async events(kind: "start" | "stop"): Promise<string[]> {
    return (await this.read("events"))
      .split("\n")
      .filter((line) => line.startsWith(`${kind} `))
      .map((line) => line.slice(kind.length + 1));
  }

  /** What the service at this port was given. */
  readonly environmentAt = async (offset: number): Promise<Record<string, string>> =>
    (await (await fetch(`http://127.0.0.1:${this.base + offset}/environment`)).json()) as Record<
      string,
      string
    >;

  /** What Redis does with its file. */
  async syncs(): Promise<unknown> {
    const { redis } = await this.readJson<DevFile>(".data/dev.json");
    const [answer] = await probeRedis(redis, [["CONFIG", "GET", "appendfsync"]]);
    return Array.isArray(answer) ? answer[1] : answer;
  }
}
