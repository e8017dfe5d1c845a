// Tests how the client connects, against servers that are silent, untrusted, or absent.
// Guarantees: attempts are bounded in time and spaced out; a pausing slot delays no other.
import { startFaultProxy } from "@petrel/shared/testing/faults/fault-proxy";
import { freePort } from "@petrel/shared/testing/free-port";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ApnsPoolBench, never, ok, push, sendMany } from "../../../testing/apns-pool-bench.js";
import { answer } from "../../../testing/apns-server.js";

let bench: ApnsPoolBench;
beforeEach(() => void (bench = new ApnsPoolBench()));
afterEach(() => bench.close());

describe("connecting", () => {
  test("gives a request that waits too long the reason", async () => {
    const endpoint = `https://127.0.0.1:${await freePort()}`;
    const pool = bench.open({ endpoint, ca: "" }, { waitMs: 200 });
    const result = await pool.send(push(), never);
    expect(result).toMatchObject({ kind: "not-sent" });
    expect((result as { why: string }).why).toMatch(/within 200 ms: .*ECONNREFUSED/);
  });

  test("sends no request to an untrusted server", async () => {
    const server = await bench.serve(ok);
    const pool = bench.open({ endpoint: server.endpoint, ca: "" }, { waitMs: 300 });
    expect(await pool.send(push(), never)).toMatchObject({ kind: "not-sent", why: /TLS with 127.0.0.1/ });
    expect(server.requests).toHaveLength(0);
  });

  test("gives up a silent server and tries it again", async () => {
    const server = await bench.serve(ok);
    const proxy = await startFaultProxy({ targetPort: server.port });
    bench.onClose(proxy.stop);
    proxy.stall();
    const failures: number[] = [];
    const metrics = { opened: () => undefined, lost: () => undefined, failed: () => void failures.push(1) };
    const pool = bench.open(
      { endpoint: `https://127.0.0.1:${proxy.port}`, ca: server.ca },
      { connectTimeoutMs: 200, metrics },
    );
    const sent = pool.send(push(), never);
    await waitFor(() => failures.length >= 2, { what: "two attempts" });
    proxy.heal();
    expect(await sent).toMatchObject({ status: 200 });
  });

  test("looks the name up for every connection and tries each address", async () => {
    const server = await bench.serve((request) => {
      answer(request);
      if (request.connection === 0) request.session.goaway(0, 2 ** 31 - 1);
    });
    const asked: string[] = [];
    const lookUp = (host: string): Promise<string[]> => {
      asked.push(host);
      // Nobody listens on the first two.
      return Promise.resolve(["127.9.9.8", "127.9.9.9", "127.0.0.1"]);
    };
    const pool = bench.open({ endpoint: `https://localhost:${server.port}`, ca: server.ca }, { lookUp });
    await pool.send(push(), never);
    await waitFor(() => pool.state.connections === 0, { what: "the first connection to go" });
    await pool.send(push(), never);
    expect(asked).toEqual(["localhost", "localhost"]);
  });

  test("retries a failing connection with growing pauses", async () => {
    const pauses: number[] = [];
    const endpoint = `https://127.0.0.1:${await freePort()}`;
    const pool = bench.open(
      { endpoint, ca: "" },
      {
        waitMs: 400,
        reconnectBaseMs: 4,
        reconnectCapMs: 32,
        // Full jitter: what is drawn is a share of the ceiling.
        random: () => (pauses.push(1), 0.999),
      },
    );
    await pool.send(push(), never);
    // 4, 8, 16, 32, 32 … ms: in 400 ms some fifteen at most, not hundreds.
    expect(pauses.length).toBeGreaterThan(2);
    expect(pauses.length).toBeLessThan(20);
  });

  test("a paused slot does not keep another from being used", async () => {
    const server = await bench.serve(ok);
    let asked = 0;
    const lookUp = (): Promise<string[]> =>
      asked++ === 0 ? Promise.reject(new Error("no such name")) : Promise.resolve(["127.0.0.1"]);
    const pool = bench.open(
      { endpoint: `https://localhost:${server.port}`, ca: server.ca },
      { connections: 2, lookUp, reconnectBaseMs: 60_000, reconnectCapMs: 60_000, random: () => 0.999 },
    );
    expect(await pool.send(push(), never)).toMatchObject({ status: 200 });
  });

  test("the wait's deadline ends once a request is sent", async () => {
    const server = await bench.serve((request) => setTimeout(() => answer(request), 500));
    const pool = bench.open(server, { waitMs: 250 });
    expect(await pool.send(push(), never)).toMatchObject({ status: 200 });
  });

  test("uses two connections evenly", async () => {
    const server = await bench.serve((request) => setTimeout(() => answer(request), 5));
    const pool = bench.open(server, { connections: 2 });
    await sendMany(pool, 10);
    await sendMany(pool, 100);
    expect(server.sessions).toHaveLength(2);
    const first = server.requests.filter(({ connection }) => connection === 0).length;
    expect(first).toBeGreaterThan(30);
    expect(first).toBeLessThan(80);
  });
});
