// Tests that auth notices by itself when a trusted issuer is down, and when it is back.
// Guarantees: the production wiring, a real issuer behind HTTP; no token is presented.
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { freePort } from "@petrel/shared/testing/free-port";
import { openStore, type OpenStore } from "@petrel/shared/testing/redis/open-store";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openAuth, type OpenAuth } from "./testing/open-auth.js";

const DEADLINE_MS = 40_000;

let store: OpenStore;
let issuerPort: number;
let metricsPort: number;
let auth: OpenAuth;
const lines: string[] = [];
beforeAll(async () => {
  store = await openStore();
  issuerPort = await freePort();
  metricsPort = await freePort();
  const logger = createLogger({ service: "test", level: "silent" });
  const note = (_: unknown, text?: string): void => {
    if (text?.startsWith("jwks") === true) lines.push(text);
  };
  Object.assign(logger, { warn: note, info: note });
  auth = await openAuth({
    url: store.server.url,
    logger,
    environment: {
      METRICS_PORT: String(metricsPort),
      EXTERNAL_ISSUER: "https://id.example.com/",
      EXTERNAL_JWKS_URL: `http://127.0.0.1:${issuerPort}/keys`,
      EXTERNAL_AUDIENCE: "https://push.example.com",
    },
  });
});
afterAll(async () => {
  await auth?.close();
  await store.close();
});

async function metrics(): Promise<string> {
  return (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text();
}
const shows = async (line: RegExp): Promise<boolean> => line.test(await metrics());

test(
  "an unreachable issuer shows in a gauge and one line, and so does its return; auth stays ready",
  async () => {
    const away = "jwks: not fetched, keeping the last good keys";
    await waitFor(() => shows(/^petrel_token_source_up\{.*source="external".*\} 0$/m), {
      what: "the gauge to fall",
      deadlineMs: DEADLINE_MS,
    });
    expect(lines).toEqual([away]);
    expect((await auth.app.inject("/health/ready")).statusCode).toBe(200);

    const { publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const keys = [{ ...publicKey.export({ format: "jwk" }), kid: "p1", use: "sig" }];
    const issuer = createServer((_request, response) => response.end(JSON.stringify({ keys })));
    issuer.listen(issuerPort, "127.0.0.1");
    await once(issuer, "listening");
    try {
      await waitFor(() => shows(/^petrel_token_source_up\{.*source="external".*\} 1$/m), {
        what: "the gauge to rise",
        deadlineMs: DEADLINE_MS,
      });
      expect(lines).toEqual([away, "jwks: fetched again"]);
      expect(await shows(/^petrel_jwks_keys\{.*outcome="taken".*\} 1$/m)).toBe(true);
    } finally {
      issuer.closeAllConnections();
      issuer.close();
    }
  },
  3 * DEADLINE_MS,
);
