// Tickets in the address: valid once, and the token that such a connection depends on.
import { PetrelError } from "@petrel/shared/kernel/errors";
import { TicketsStore } from "@petrel/shared/redis/auth/tickets-store";
import { TokenRevocations } from "@petrel/shared/redis/auth/token-revocations";
import type { VerifiedToken } from "@petrel/shared/security/tokens/verified-token";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { approach, openNodeBench, type NodeBench } from "../testing/node-bench.js";
import type { PushNode } from "../testing/start-push-node.js";

let bench: NodeBench;
let node: PushNode;
let tickets: TicketsStore<VerifiedToken>;
let users = 0;

beforeAll(async () => {
  bench = await openNodeBench();
  node = await bench.startNode();
  tickets = new TicketsStore(bench.store.scripts);
});
afterAll(() => bench.close());

const newUser = (): string => `u${++users}`;

function issue(userId: string, more: Partial<VerifiedToken> = {}): Promise<string> {
  const expiresAtMs = Date.now() + 60_000;
  const base = { userId, jti: `jti-${userId}`, issuedAtMs: Date.now(), expiresAtMs, generation: 0 };
  return tickets.issue({ ...base, ...more }, 30_000);
}

const comeWith = (ticket: string, at = node) => approach(at, { query: `ticket=${ticket}` });

describe("a valid ticket", () => {
  test("is its holder's sign-in: user, platform, and its token's remaining time", async () => {
    const userId = newUser();
    const client = comeWith(await issue(userId, { device: { id: "d", platform: "ios" } }));
    const { connection } = await client.frame("welcome");
    expect(await bench.routes(userId)).toEqual([expect.stringMatching(`/${String(connection)}/ios$`)]);
    const [registered] = node.registry.ofUser(userId);
    expect(registered?.tokenExpiresAtMs).toBeGreaterThan(Date.now() + 50_000);
    expect(registered?.tokenExpiresAtMs).toBeLessThan(Date.now() + 61_000);
    client.close();
  });

  test("opens a connection that is revoked with its token", async () => {
    const userId = newUser();
    const client = comeWith(await issue(userId, { sessionId: "s1" }));
    await client.frame("welcome");
    const { scripts, partitions } = bench.store;
    await new TokenRevocations({ scripts, partitions, maxTokenLifeMs: 1 }).revokeSession(userId, "s1");
    expect(await client.untilClosed()).toMatchObject({ code: 4403 });
    const late = comeWith(await issue(userId, { sessionId: "s1" }));
    expect(await late.untilClosed()).toMatchObject({ code: 4403 });
    expect(late.frames).toMatchObject([{ code: "PETREL_TOKEN_REVOKED", action: "stop" }]);
  });

  test("admits one of those who present it at the same time", async () => {
    const ticket = await issue(newUser());
    const clients = Array.from({ length: 8 }, () => comeWith(ticket));
    const ends = await Promise.all(
      clients.map(async (client) => {
        await Promise.race([client.frame("welcome"), client.frame("error")]);
        return client.frames[0]?.type;
      }),
    );
    expect(ends.filter((type) => type === "welcome")).toHaveLength(1);
    for (const client of clients) client.close();
  });

  test("is kept if the node stops: it is valid on another", async () => {
    const stopping = await bench.startNode();
    stopping.startDraining();
    const ticket = await issue(newUser());
    // Before the upgrade.
    expect((await comeWith(ticket, stopping).untilClosed()).code).toBe(1006);
    const client = comeWith(ticket);
    await client.frame("welcome");
    client.close();
  });
});

describe("an invalid ticket: 4401, get a fresh one", () => {
  test.each<[string, () => Promise<string> | string]>([
    ["unknown", () => `pt_${"x".repeat(43)}`],
    ["no ticket at all", () => "t".repeat(5_000)],
    ["its token has expired", () => issue(newUser(), { expiresAtMs: Date.now() - 1 })],
    [
      "used",
      async () => {
        const ticket = await issue(newUser());
        const first = comeWith(ticket);
        await first.frame("welcome");
        first.close();
        return ticket;
      },
    ],
  ])("%s", async (_what, make) => {
    const client = comeWith(await make());
    expect(await client.untilClosed()).toMatchObject({ code: 4401 });
    expect(client.frames).toMatchObject([
      { type: "error", code: "PETREL_TICKET_INVALID", action: "refresh" },
    ]);
  });
});

test("an unanswering Redis is not the client's fault: 1013", async () => {
  const down = await bench.startNode({
    redeemTicket: () => Promise.reject(new PetrelError("PETREL_UNAVAILABLE", "Redis does not answer.")),
  });
  const client = comeWith(await issue(newUser()), down);
  expect(await client.untilClosed()).toMatchObject({ code: 1013 });
  expect(client.frames).toMatchObject([{ code: "PETREL_UNAVAILABLE", action: "resume" }]);
});
