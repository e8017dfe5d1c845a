// Tests only: everything around the command line: a terminal, a folder with a dev.json, HTTP services and a push node.
// Guarantees: each bench has its own folder, ports and answers; `close()` leaves nothing.
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingHttpHeaders, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { WsPeer } from "./ws-peer.js";

export interface AskedRequest {
  /** "METHOD /path?query". */
  readonly line: string;
  readonly authorization: string | undefined;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

export interface GivenAnswer {
  readonly status: number;
  readonly body: unknown;
}

/** What a command sees of the outside. */
export interface BenchTerminal {
  readonly print: (line: string) => void;
  readonly deliver: (line: string) => Promise<void>;
  readonly note: (line: string) => void;
  readonly stdin: PassThrough;
  readonly environment: Readonly<Record<string, string>>;
  readonly workingDirectory: string;
  readonly interrupted: AbortSignal;
}

export type RunCommand = (
  args: readonly string[],
  terminal: BenchTerminal,
  version: string,
) => Promise<number>;

export interface CommandRun {
  readonly out: string[];
  readonly err: string[];
  readonly stdin: PassThrough;
  readonly interrupt: () => void;
  readonly exitCode: Promise<number>;
}

export class CommandBench {
  /** What the services were asked, in order. */
  readonly asked: AskedRequest[] = [];
  /** By "METHOD /path". The last answer of a list repeats. */
  readonly answers = new Map<string, GivenAnswer[]>([
    ["POST /v1/tokens", [{ status: 201, body: { accessToken: "jwt", expiresIn: 60, tokenType: "Bearer" } }]],
    ["POST /v1/messages", [{ status: 202, body: { id: "p1_m", duplicate: false } }]],
  ]);
  readonly #run: RunCommand;
  readonly #http: Server;

  private constructor(
    run: RunCommand,
    /** The working directory, which has the dev.json. */
    readonly directory: string,
    readonly node: WsPeer,
  ) {
    this.#run = run;
    this.#http = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        const line = `${request.method} ${request.url}`;
        const { headers } = request;
        const body = Buffer.concat(chunks).toString();
        this.asked.push({ line, authorization: headers.authorization, headers, body });
        const list = this.answers.get(line) ?? [];
        const answer = list.length > 1 ? list.shift() : list[0];
        response.writeHead(answer?.status ?? 404).end(JSON.stringify(answer?.body ?? {}));
      });
    });
  }

  static async open(run: RunCommand): Promise<CommandBench> {
    const directory = mkdtempSync(join(tmpdir(), "petrel-cli-"));
    const bench = new CommandBench(run, directory, await WsPeer.start());
    bench.#http.listen(0, "127.0.0.1");
    await once(bench.#http, "listening");
    mkdirSync(join(directory, ".data"));
    bench.writeDevFile({
      auth: bench.httpUrl,
      collect: bench.httpUrl,
      dispatch: bench.httpUrl,
      nodes: [bench.node.url],
      apiKey: "key1",
      apiSecret: "s3cret",
      adminToken: "root.s3cret",
    });
    return bench;
  }

  /** Of auth, collect and dispatch alike. */
  get httpUrl(): string {
    return `http://127.0.0.1:${(this.#http.address() as AddressInfo).port}`;
  }

  writeDevFile(content: unknown): void {
    writeFileSync(join(this.directory, ".data", "dev.json"), JSON.stringify(content));
  }

  run(
    args: readonly string[],
    {
      environment = {},
      workingDirectory = this.directory,
      stdin = new PassThrough(),
      isUnread = (): boolean => false,
    } = {},
  ): CommandRun {
    const interruption = new AbortController();
    const out: string[] = [];
    const err: string[] = [];
    const exitCode = this.#run(
      args,
      {
        print: (line) => void out.push(line),
        deliver: async (line) => {
          if (isUnread()) throw new Error("write EPIPE");
          out.push(line);
        },
        note: (line) => void err.push(line),
        stdin,
        environment,
        workingDirectory,
        interrupted: interruption.signal,
      },
      "1.2.3",
    );
    return { out, err, stdin, interrupt: () => interruption.abort(), exitCode };
  }

  async close(): Promise<void> {
    this.#http.close();
    this.#http.closeAllConnections();
    await this.node.close();
    rmSync(this.directory, { recursive: true });
  }
}
