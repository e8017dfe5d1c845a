// Flow: limits as producers meet them, at two collects that know of each other only through Redis.
// Guarantees: a key's limit holds over both; another key is not affected; a user is sent no more than allowed.
import { setTimeout as sleep } from "node:timers/promises";
import { askService, type ServiceAnswer } from "@petrel/shared/testing/cluster/ask-service";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";

const PER_SECOND = 20;
const LIMIT = PER_SECOND * 10;
const PER_USER = 3;

let cluster: TestCluster;
beforeAll(async () => {
  cluster = await startCluster({
    together: true,
    nodes: 1,
    collects: 2,
    environment: {
      MESSAGES_PER_KEY_PER_SECOND: String(PER_SECOND),
      MESSAGES_PER_USER_PER_SECOND: String(PER_USER),
    },
  });
});
afterAll(() => cluster.stop());

function send(collect: number, key: string, users: readonly string[]): Promise<ServiceAnswer> {
  return askService(`${cluster.collects[collect]?.url}/v1/messages/batch`, {
    method: "POST",
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
    body: JSON.stringify({ messages: users.map((user) => ({ to: { user }, data: 1 })) }),
  });
}

test("one key at two collects: never more than its limit in 10 s, with Retry-After", async () => {
  const accepted: { readonly sentAtMs: number; readonly answeredAtMs: number; readonly count: number }[] = [];
  const refused: ServiceAnswer[] = [];
  let n = 0;
  const endsAtMs = Date.now() + 14_000;
  const hammer = async (collect: number): Promise<void> => {
    for (let turn = 0; Date.now() < endsAtMs; turn++) {
      const count = 1 + (turn % 3);
      const sentAtMs = Date.now();
      const answer = await send(
        collect,
        cluster.apiKey,
        Array.from({ length: count }, () => `u${n++}`),
      );
      if (answer.status === 202) accepted.push({ sentAtMs, answeredAtMs: Date.now(), count });
      else refused.push(answer);
      await answer.text();
      await sleep(answer.status === 202 ? 0 : 50);
    }
  };
  await Promise.all([hammer(0), hammer(0), hammer(1), hammer(1)]);

  // Each was admitted between its sending and its answer, so one wholly within a window was admitted in it.
  for (const { sentAtMs: fromMs } of accepted) {
    const inWindow = accepted.filter((one) => one.sentAtMs >= fromMs && one.answeredAtMs < fromMs + 10_000);
    expect(inWindow.reduce((sum, { count }) => sum + count, 0)).toBeLessThanOrEqual(LIMIT);
  }
  const total = accepted.reduce((sum, { count }) => sum + count, 0);
  expect(total).toBeGreaterThan(LIMIT * 0.9);
  expect(refused.length).toBeGreaterThan(10);
  for (const { status, headers } of refused) {
    expect(status).toBe(429);
    const seconds = headers.get("retry-after");
    expect(Number(seconds)).toBeGreaterThanOrEqual(1);
    expect(Number(seconds)).toBeLessThanOrEqual(11);
    expect(headers.get("ratelimit-policy")).toBe(`"messages";q=${LIMIT};w=10;qu="messages"`);
    expect(headers.get("ratelimit")).toBe(`"messages";r=0;t=${seconds}`);
  }
  // Each collect has refused it by itself; the other key goes on at both.
  for (const collect of [0, 1]) {
    const other = await send(collect, cluster.adminKey, ["a", "b"]);
    expect(other.status).toBe(202);
    expect(other.headers.get("ratelimit")).toMatch(/^"messages";r=\d+;t=\d+$/);
  }
});

test("a user is sent at most the limit, whoever sends and wherever; only the excess is refused", async () => {
  const toAda = Array.from({ length: 20 }, () => "ada");
  const answers = await Promise.all(
    [0, 1].map((collect) => send(collect, cluster.adminKey, [...toAda, "grace"])),
  );
  const results: { id?: string; error?: { code: string; status: number } }[] = [];
  for (const answer of answers) {
    expect(answer.status).toBe(202);
    const body = (await answer.json()) as { results: typeof results };
    expect(body.results.pop()).toHaveProperty("id");
    results.push(...body.results);
  }
  expect(results.filter(({ id }) => id !== undefined)).toHaveLength(PER_USER * 10);
  for (const { error } of results) {
    if (error !== undefined) expect(error).toMatchObject({ code: "PETREL_RATE_LIMITED", status: 429 });
  }
});
