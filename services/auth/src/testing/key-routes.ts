// Tests only: the routes that manage producer keys, on real Redis, and an authenticator for the keys they make.
// Guarantees: each test begins with an empty Redis and an application of its own, with the key `admin`.
import { createHash, randomBytes } from "node:crypto";
import { expect } from "vitest";
import { type Clock, systemClock } from "@petrel/shared/kernel/clock";
import { buildHttpApp, type HttpApp } from "@petrel/shared/kernel/http/http-app";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { CompiledSchemas } from "@petrel/shared/kernel/schemas/compile-when-used";
import { addJsonBodyReader } from "@petrel/shared/kernel/http/bodies/read-json-body";
import { AuditLog } from "@petrel/shared/redis/auth/audit-log";
import { ProducerKeysReader, ProducerKeysStore } from "@petrel/shared/redis/producers/producer-keys-store";
import { SpentNonces } from "@petrel/shared/redis/producers/spent-nonces";
import { ProducerAuthenticator } from "@petrel/shared/security/producers/authenticate-producer";
import { decorateWithProducer } from "@petrel/shared/security/producers/authorize-producer";
import { createAtRestCipher } from "@petrel/shared/security/encrypt-at-rest";
import { hashProducerSecret } from "@petrel/shared/security/producers/producer-keys";
import { signRequest } from "@petrel/shared/security/producers/request-signature";
import { createSignatureChecks } from "@petrel/shared/security/producers/signature-checks";
import { openStore, type OpenStore } from "@petrel/shared/testing/redis/open-store";
import type { ManageKeysDeps } from "../keys/manage-keys-deps.js";
import { addCreateKey } from "../routes/create-key.js";
import { addListKeys } from "../routes/list-keys.js";
import { addRevokeKey } from "../routes/revoke-key.js";
import { addUpdateKey } from "../routes/update-key.js";
import { addRotateKey } from "../routes/rotate-key.js";

export const logger = createLogger({ service: "test", level: "silent" });
const cipher = createAtRestCipher(randomBytes(32));
const compiledSchemas = new CompiledSchemas();

export interface Key {
  readonly id: string;
  readonly secret: string;
  readonly [field: string]: unknown;
}

export class KeyRoutes {
  readonly clock = {
    offsetMs: 0,
    monotonicMs: (): number => this.clock.offsetMs,
    wallMs: (): number => Date.now() + this.clock.offsetMs,
  };
  #nonces = 0;
  #app: HttpApp | undefined;

  private constructor(readonly store: OpenStore) {}

  static async start(): Promise<KeyRoutes> {
    return new KeyRoutes(await openStore());
  }

  stop(): Promise<void> {
    return this.store.close();
  }

  /** For `beforeEach`. */
  async clear(): Promise<void> {
    await this.store.clear();
    this.clock.offsetMs = 0;
    this.#app = await this.open(this.depsOn(this.store));
  }

  /** The one that `ask` asks. */
  get app(): HttpApp {
    if (this.#app === undefined) throw new Error("no application is open");
    return this.#app;
  }

  depsOn({ redis, scripts }: Pick<OpenStore, "redis" | "scripts">): ManageKeysDeps {
    const { clock } = this;
    return {
      authenticator: this.authenticatorOn(redis, clock),
      producerKeys: new ProducerKeysStore(scripts),
      scripts,
      cipher,
      audit: new AuditLog({ scripts, logger, maxEntries: 1_000, keepDays: 30 }),
      clock,
    };
  }

  authenticatorOn(redis: OpenStore["redis"], time: Clock = systemClock): ProducerAuthenticator {
    const signatures = createSignatureChecks(cipher, new SpentNonces(redis).spend, logger);
    return new ProducerAuthenticator({
      findKey: new ProducerKeysReader(redis).find,
      signatures,
      clock: time,
    });
  }

  async open(deps: ManageKeysDeps): Promise<HttpApp> {
    const readiness = () => ({ ready: true, checks: {} });
    const built = await buildHttpApp({
      service: "auth",
      version: "0",
      logger,
      bodyLimitBytes: 65_536,
      readiness,
      compiledSchemas,
    });
    addJsonBodyReader(built, 65_536);
    decorateWithProducer(built);
    addCreateKey(built, deps);
    addListKeys(built, deps);
    addRotateKey(built, deps);
    addRevokeKey(built, deps);
    addUpdateKey(built, deps);
    await deps.producerKeys.create(
      {
        id: "admin",
        owner: "ops",
        name: "admin",
        scopes: ["admin"],
        secretSha256: hashProducerSecret("admin-secret"),
      },
      new Date(),
    );
    await built.ready();
    return built;
  }

  async ask(method: "POST" | "GET" | "DELETE" | "PATCH", url: string, payload?: unknown, on = this.app) {
    const answer = await on.inject({
      method,
      url,
      headers: {
        authorization: "Bearer admin.admin-secret",
        ...(payload === undefined ? {} : { "content-type": "application/json" }),
      },
      ...(payload === undefined ? {} : { payload: JSON.stringify(payload) }),
    });
    return {
      status: answer.statusCode,
      text: answer.body,
      body: (answer.body === "" ? undefined : JSON.parse(answer.body)) as never,
    };
  }

  async create(more: Readonly<Record<string, unknown>> = {}): Promise<Key> {
    const answer = await this.ask("POST", "/v1/keys", { name: "n", scopes: ["admin"], ...more });
    expect(answer.status).toBe(201);
    return answer.body;
  }

  /** The status of a signed request, and of one with a bearer credential. */
  async tryBoth({ id, secret }: Key): Promise<{ signed: string; bearer: string }> {
    const method = "GET";
    const url = "/v1/keys?limit=1";
    const nonce = `n${++this.#nonces}`;
    const timestamp = String(Math.floor(this.clock.wallMs() / 1_000));
    const bodySha256 = createHash("sha256").digest("hex");
    const signature = signRequest({ id: nonce, timestamp, method, target: url, bodySha256 }, secret);
    const signed = await this.app.inject({
      method,
      url,
      headers: {
        "petrel-key": id,
        "petrel-id": nonce,
        "petrel-timestamp": timestamp,
        "petrel-signature": `v1,${signature}`,
      },
    });
    const bearer = await this.app.inject({
      method,
      url,
      headers: { authorization: `Bearer ${id}.${secret}` },
    });
    const outcome = ({ statusCode, body }: typeof signed): string =>
      statusCode === 200 ? "passes" : (JSON.parse(body) as { error: { code: string } }).error.code;
    return { signed: outcome(signed), bearer: outcome(bearer) };
  }
}
