// Flow: a planned stop of each service that answers HTTP, under clients that keep their connections busy.
// Guarantees: SIGTERM costs no request on a kept-alive connection, and the process ends well before its deadline even
// if a client has sent half a body.
import { once } from "node:events";
import { Agent, request } from "node:http";
import { connect } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import type { ServiceProcess } from "@petrel/shared/testing/cluster/service-process";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { sized } from "../support/sizes.js";

const CLIENTS = sized(24, 12);

let cluster: TestCluster;
beforeAll(async () => {
  cluster = await startCluster({ nodes: 1, together: (name) => name.startsWith("push-node") });
});
afterAll(() => cluster.stop());

interface Call {
  readonly method: string;
  readonly path: string;
  readonly key: string;
  readonly body?: string;
}

/** @returns whether the answer says `Connection: close` */
function ask(agent: Agent, port: number, { method, path, key, body }: Call): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${key}`, "content-type": "application/json" };
    const asked = request({ agent, port, host: "127.0.0.1", method, path, headers }, (answer) => {
      answer.resume();
      answer.on("error", reject);
      answer.on("end", () => {
        const { statusCode = 0 } = answer;
        if (statusCode < 300) resolve(answer.headers.connection === "close");
        else reject(new Error(`answered ${statusCode}`));
      });
    });
    asked.on("error", reject);
    asked.end(body);
  });
}

function first<T>([one]: readonly T[]): T {
  if (one === undefined) throw new Error("there is none");
  return one;
}

const services: readonly (readonly [string, () => ServiceProcess, () => Call])[] = [
  [
    "collect",
    () => cluster.collect,
    () => ({
      method: "POST",
      path: "/v1/messages",
      key: cluster.apiKey,
      body: '{"to":{"user":"ada"},"data":1}',
    }),
  ],
  [
    "auth",
    () => cluster.auth,
    () => ({ method: "POST", path: "/v1/tokens", key: cluster.adminKey, body: '{"userId":"ada"}' }),
  ],
  [
    "dispatch",
    () => first(cluster.dispatchers),
    () => ({ method: "GET", path: "/v1/dead-letters", key: cluster.adminKey }),
  ],
];

test.each(services)("%s", async (_name, serviceOf, callOf) => {
  const service = serviceOf();
  const call = callOf();
  const failures: string[] = [];
  let answered = 0;
  const loop = async (i: number): Promise<void> => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    try {
      while (!(await ask(agent, service.port, call))) {
        answered++;
        await new Promise((resolve) => setTimeout(resolve, i % 10));
      }
    } catch (error) {
      failures.push(String(error));
    } finally {
      agent.destroy();
    }
  };
  const clients = Array.from({ length: CLIENTS }, (_, i) => loop(i));
  const half = connect(service.port, "127.0.0.1");
  await once(half, "connect");
  let received = "";
  half.on("data", (chunk: Buffer) => (received += chunk.toString()));
  half.on("error", (error) => failures.push(`half a body: ${error.message}`));
  half.write(
    `POST ${call.path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${call.key}\r\n` +
      "Content-Type: application/json\r\nContent-Length: 99\r\n\r\n{",
  );
  await waitFor(() => answered > 20 * CLIENTS, { what: "busy clients", deadlineMs: 30_000 });
  service.signal("SIGTERM");
  await Promise.all(clients);
  expect(await service.exited).toBe(0);
  expect(failures).toEqual([]);
  if (call.method === "POST") expect(received).toMatch(/^HTTP\/1\.1 503 /);
});
