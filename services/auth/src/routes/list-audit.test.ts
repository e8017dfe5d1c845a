// Tests GET /v1/audit as an operator sees it, on a real Redis.
import { buildHttpApp, type HttpApp } from "@petrel/shared/kernel/http/http-app";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { AuditLog } from "@petrel/shared/redis/auth/audit-log";
import { erasedUserTarget } from "@petrel/shared/redis/erasure/erased-user-target";
import { ProducerAuthenticator } from "@petrel/shared/security/producers/authenticate-producer";
import { decorateWithProducer } from "@petrel/shared/security/producers/authorize-producer";
import { hashProducerSecret } from "@petrel/shared/security/producers/producer-keys";
import { openStore, type OpenStore } from "@petrel/shared/testing/redis/open-store";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { addListAudit } from "./list-audit.js";

const secret = "s".repeat(43);
const logger = createLogger({ service: "test", level: "silent" });
let store: OpenStore;
let audit: AuditLog;
let app: HttpApp;
beforeAll(async () => {
  store = await openStore();
  audit = new AuditLog({ scripts: store.scripts, logger, maxEntries: 1_000, keepDays: 30 });
  app = await buildHttpApp({
    service: "auth",
    version: "1",
    logger,
    bodyLimitBytes: 1_024,
    documented: true,
    readiness: () => ({ ready: true, checks: {} }),
  });
  decorateWithProducer(app);
  addListAudit(app, {
    audit,
    authenticator: new ProducerAuthenticator({
      findKey: async (id) => ({
        id,
        owner: "o",
        scopes: id === "operator" ? ["admin"] : ["send", "read", "tokens", "devices", "introspect"],
        secretSha256: hashProducerSecret(secret),
      }),
    }),
  });
  await app.ready();
});
beforeEach(() => store.clear());
afterAll(async () => {
  await app.close();
  await store.close();
});

async function ask(query = "", as: string | undefined = "operator") {
  const headers = as === "nobody" ? {} : { authorization: `Bearer ${as}.${secret}` };
  const answer = await app.inject({ method: "GET", url: `/v1/audit${query}`, headers });
  return { status: answer.statusCode, body: JSON.parse(answer.body) as Page };
}

interface Page {
  readonly items: readonly { readonly id: string; readonly at: string; readonly target: string }[];
  readonly nextCursor: string | null;
}

test("requires the scope admin", async () => {
  expect((await ask("", "shop")).status).toBe(403);
  expect((await ask("", "nobody")).status).toBe(401);
});

test("lists newest first, page by page", async () => {
  const act = { actor: "key:operator", action: "key.create" } as const;
  await audit.record({ ...act, target: "a", details: { owner: "shop", signs: true, count: 2 } });
  await audit.record({ ...act, target: "b" });
  const first = await ask("?limit=1");
  expect(first.body).toEqual({
    items: [
      { ...act, id: expect.any(String), at: expect.stringMatching(/^20.*Z$/), target: "b", details: {} },
    ],
    nextCursor: expect.any(String),
  });
  const second = await ask(`?limit=1&cursor=${first.body.nextCursor}`);
  expect(second.body).toMatchObject({
    items: [{ target: "a", details: { owner: "shop", signs: true, count: 2 } }],
    nextCursor: null,
  });
});

test("filters by actor, action and target; a user's id finds their erasure too", async () => {
  await audit.record({ actor: "key:a", action: "user.disconnect", target: "ada" });
  await audit.record({ actor: "key:b", action: "user.erase", target: erasedUserTarget("ada") });
  await audit.record({ actor: "user:bert", action: "token.revoke", target: "bert" });
  const targets = async (query: string) => (await ask(query)).body.items.map(({ target }) => target);
  expect(await targets("?actor=user%3Abert")).toEqual(["bert"]);
  expect(await targets("?action=user.disconnect")).toEqual(["ada"]);
  expect(await targets("?target=ada")).toEqual([erasedUserTarget("ada"), "ada"]);
  expect(await targets("?target=ad")).toEqual([]);
});

test.each([
  "limit=0",
  "limit=1001",
  "limit=x",
  "cursor=a",
  "action=nothing",
  "actor=",
  "x=1",
  "target=a&target=b",
])("refuses %s", async (query) => {
  expect((await ask(`?${query}`)).status).toBe(400);
});
