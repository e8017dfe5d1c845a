// Tests only: a cluster that writes its spans to a file, and the way of a message through them.
// Guarantees: a span without its parent fails the test; `stop` leaves no file.
import { randomBytes } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { askService } from "@petrel/shared/testing/cluster/ask-service";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { connectClient } from "@petrel/shared/testing/peers/ws-client";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { expect } from "vitest";
import { readState } from "../phones/cluster-with-phones.js";

export interface FileSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly kind: string;
  readonly service: string;
  readonly startTime: string;
  readonly durationMs: number;
  readonly status: string;
  readonly problem?: string;
  readonly attributes: Readonly<Record<string, unknown>>;
}

/** What a producer sends with its request. */
export interface ProducerSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly header: string;
}

export function newProducerSpan(flags = "01"): ProducerSpan {
  const [traceId, spanId] = [randomBytes(16).toString("hex"), randomBytes(8).toString("hex")];
  return { traceId, spanId, header: `00-${traceId}-${spanId}-${flags}` };
}

export class TracedCluster {
  readonly cluster: TestCluster;
  readonly #directory: string;

  private constructor(cluster: TestCluster, directory: string) {
    this.cluster = cluster;
    this.#directory = directory;
  }

  /** @param environment of all services */
  static async start(environment: Readonly<Record<string, string>>): Promise<TracedCluster> {
    const directory = await mkdtemp(join(tmpdir(), "petrel-tracing-"));
    const cluster = await startCluster({
      together: (name) => !name.startsWith("push-node"),
      nodes: 1,
      environment: {
        TRACING: "file",
        TRACE_FILE: join(directory, "spans.jsonl"),
        TRACE_SAMPLE_RATIO: "0",
        ACK_TIMEOUT_MS: "1000",
        LEASE_MS: "1000",
        OFFLINE_SETTLE_MS: "100",
        ROUTE_GRACE_MS: "100",
        FALLBACK_RETRY_BASE_MS: "50",
        FALLBACK_RETRY_CAP_MS: "200",
        ...environment,
      },
    });
    return new TracedCluster(cluster, directory);
  }

  async stop(): Promise<void> {
    await this.cluster.stop();
    await rm(this.#directory, { recursive: true });
  }

  /** @returns the message's id */
  async send(user: string, traceparent: string | undefined, more: object = {}): Promise<string> {
    const response = await askService(`${this.cluster.collect.url}/v1/messages`, {
      method: "POST",
      headers: {
        authorization: `Bearer ${this.cluster.apiKey}`,
        "content-type": "application/json",
        ...(traceparent === undefined ? {} : { traceparent }),
      },
      body: JSON.stringify({ to: { user }, data: { secret: "payload" }, ...more }),
    });
    expect(response.status).toBe(202);
    return ((await response.json()) as { id: string }).id;
  }

  async connect(user: string, ack: "each" | "none" = "each") {
    const [url = ""] = this.cluster.nodeUrls;
    return connectClient({ url, token: await this.cluster.tokenFor(user), ack });
  }

  /** Everything exported so far. */
  async spans(): Promise<FileSpan[]> {
    const text = await readFile(join(this.#directory, "spans.jsonl"), "utf8");
    return text
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line) as FileSpan);
  }

  /**
   * The trace's spans, once there is one (or the given number) of each of these names, and the parent of each: another
   * process may export it later.
   */
  async untilSpans(
    { traceId, spanId }: Pick<ProducerSpan, "traceId" | "spanId">,
    ...names: readonly (string | readonly [string, number])[]
  ): Promise<FileSpan[]> {
    let found: FileSpan[] = [];
    await waitFor(
      async () => {
        found = (await this.spans()).filter((span) => span.traceId === traceId);
        const known = new Set([undefined, spanId, ...found.map((span) => span.spanId)]);
        if (found.some((span) => !known.has(span.parentSpanId))) return false;
        return names.every((one) => {
          const [name, count] = typeof one === "string" ? [one, 1] : one;
          return found.filter((span) => span.name === name).length >= count;
        });
      },
      { what: `spans ${JSON.stringify(names)}`, deadlineMs: 25_000 },
    );
    return found;
  }

  async untilState(id: string, state: string): Promise<void> {
    await waitFor(async () => (await readState(this.cluster, id)).state === state, {
      what: `the message to be ${state}`,
      deadlineMs: 25_000,
    });
  }
}

/** The names from this span up to the producer's own, which we do not export; throws if a parent is missing. */
export function wayOf(span: FileSpan, spans: readonly FileSpan[], producer: ProducerSpan): string[] {
  if (span.parentSpanId === producer.spanId) return ["producer", span.name];
  const parent = spans.find(({ spanId }) => spanId === span.parentSpanId);
  if (parent === undefined) throw new Error(`${span.name} has no parent`);
  return [...wayOf(parent, spans, producer), span.name];
}

export function waysOf(spans: readonly FileSpan[], producer: ProducerSpan): string[] {
  return spans.map((span) => wayOf(span, spans, producer).join(" > ")).sort();
}

export function only(spans: readonly FileSpan[], name: string): FileSpan {
  const [first, ...more] = spans.filter((span) => span.name === name);
  if (first === undefined || more.length > 0) throw new Error(`${more.length + 1} or no spans ${name}`);
  return first;
}
