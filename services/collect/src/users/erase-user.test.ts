// Tests DELETE /v1/users/:id and the audit entries of operators' calls, on a real Redis.
import { AuditLog } from "@petrel/shared/redis/auth/audit-log";
import { erasedUserTarget } from "@petrel/shared/redis/erasure/erased-user-target";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { PetrelError } from "@petrel/shared/kernel/errors";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { UserErasure } from "./erase-user.js";
import { type OpenCollect, openCollect } from "../testing/open-collect.js";

const logger = createLogger({ service: "test", level: "silent" });
let collect: OpenCollect;
let audit: AuditLog;
beforeAll(async () => {
  collect = await openCollect();
  audit = new AuditLog({ scripts: collect.store.scripts, logger, maxEntries: 1_000, keepDays: 30 });
});
beforeEach(async () => {
  await collect.store.redis.del("petrel:audit");
});
afterAll(() => collect.close());

async function acts() {
  return (await audit.list({ limit: 10 })).items.map(({ id: _id, atMs: _at, ...act }) => act);
}

test("a person is erased when the call is answered, and its start and end are audited without the id", async () => {
  const sent = await collect.ask("POST", "/v1/messages", { body: { to: { user: "ada.l" }, data: 1 } });
  const { id } = sent.body as { id: string };
  expect((await collect.ask("DELETE", "/v1/users/ada.l")).status).toBe(204);
  expect((await collect.ask("GET", `/v1/messages/${id}`)).status).toBe(404);
  expect(await collect.inboxOf("ada.l")).toEqual([]);
  const act = {
    actor: expect.stringMatching(/^key:shop-/),
    action: "user.erase",
    target: erasedUserTarget("ada.l"),
  };
  expect(await acts()).toEqual([
    { ...act, details: { phase: "done", messages: 1, records: 1, entries: 1, notes: 0 } },
    { ...act, details: { phase: "begun" } },
  ]);
  expect(JSON.stringify(await acts())).not.toContain("ada.l");
  expect((await collect.ask("DELETE", "/v1/users/ada.l")).status).toBe(204);
});

test("requires the scope admin, a user id, and no body", async () => {
  const as = await collect.producer("other", ["send", "read", "tokens", "devices", "introspect"]);
  expect((await collect.ask("DELETE", "/v1/users/ada", { as })).status).toBe(403);
  expect((await collect.ask("DELETE", "/v1/users/a%20b")).status).toBe(400);
  expect((await collect.ask("DELETE", "/v1/users/ada", { body: { sure: true } })).status).toBe(400);
  expect(await acts()).toEqual([]);
});

test("erases nothing it cannot audit; an erasure that fails midway shows as begun", async () => {
  let erased = 0;
  const eraser = {
    erase: async () => {
      erased++;
      throw new PetrelError("PETREL_UNAVAILABLE", "Redis does not answer.");
    },
  };
  const deaf = { recordBefore: () => Promise.reject(new PetrelError("PETREL_UNAVAILABLE", "no")) };
  const unnoted = new UserErasure({ eraser, audit: deaf as unknown as AuditLog });
  await expect(unnoted.erase("ada", "k")).rejects.toMatchObject({ code: "PETREL_UNAVAILABLE" });
  expect(erased).toBe(0);
  await expect(new UserErasure({ eraser, audit }).erase("ada", "k")).rejects.toThrow();
  expect((await acts()).map(({ details }) => details["phase"])).toEqual(["begun"]);
});

test("everything stored before a call is erased when it is answered, even if an erasure is already running", async () => {
  let isThere = true;
  const walks: (() => void)[] = [];
  const eraser = {
    // Like the real one: what arrives after its first step stays.
    erase: async () => {
      isThere = false;
      await new Promise<void>((resolve) => walks.push(resolve));
      return { messages: 0, records: 0, entries: 0, notes: 0 };
    },
  };
  const silent = { recordBefore: async () => undefined, record: async () => undefined };
  const erasure = new UserErasure({ eraser, audit: silent as unknown as AuditLog });
  const began = (count: number) =>
    waitFor(() => walks.length === count, { what: `erasing ${count}`, everyMs: 1 });
  const first = erasure.erase("ada", "k");
  await began(1);
  isThere = true;
  let answered = 0;
  const waiting = [1, 2, 3].map(() => erasure.erase("ada", "k").then(() => answered++));
  walks[0]?.();
  await first;
  await began(2);
  expect({ isThere, answered }).toEqual({ isThere: false, answered: 0 });
  walks[1]?.();
  await Promise.all(waiting);
  // One more erasure for all three, and another for the later call.
  expect(walks).toHaveLength(2);
  const later = erasure.erase("ada", "k");
  await began(3);
  walks[2]?.();
  await later;
});

test("a call that waits for a failing erasure still erases", async () => {
  let calls = 0;
  const eraser = {
    erase: async () => {
      if (calls++ === 0) throw new PetrelError("PETREL_UNAVAILABLE", "Redis does not answer.");
      return { messages: 0, records: 0, entries: 0, notes: 0 };
    },
  };
  const silent = { recordBefore: async () => undefined, record: async () => undefined };
  const erasure = new UserErasure({ eraser, audit: silent as unknown as AuditLog });
  const outcomes = await Promise.allSettled([erasure.erase("ada", "k"), erasure.erase("ada", "k")]);
  expect(outcomes.map(({ status }) => status)).toEqual(["rejected", "fulfilled"]);
  expect(calls).toBe(2);
});

test("audits a disconnect, with whom and by whom", async () => {
  expect((await collect.ask("POST", "/v1/users/bert/disconnect")).status).toBe(200);
  expect(await acts()).toEqual([
    {
      actor: expect.stringMatching(/^key:shop-/),
      action: "user.disconnect",
      target: "bert",
      details: { disconnected: 0 },
    },
  ]);
});
