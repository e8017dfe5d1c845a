// Flow: `deliverAt` while collects and dispatchers of the release before work beside those of this one.
// Guarantees: what either release has stored for later the other one promotes, lists and takes back: once, in order of
// time and, for one time, of priority.
import { askService } from "@petrel/shared/testing/cluster/ask-service";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  BUILD_DEADLINE_MS,
  buildReleaseBefore,
  hasReleaseBefore,
} from "../support/release/release-before.js";

const isThere = await hasReleaseBefore();
/** The first is long enough to send and list all of a round before; a machine that is too busy tries a longer one. */
const AHEAD_MS = [4_000, 16_000, 64_000];

describe.runIf(isThere)("beside the previous release", () => {
  const order = ["this low", "this high", "before normal", "this low", "before low"];
  let cluster: TestCluster;
  let dispatchIsOld = true;
  beforeAll(async () => {
    const before = await buildReleaseBefore();
    const isOld = (name: string): boolean =>
      name === "collect-2" || (name.startsWith("dispatch") && dispatchIsOld);
    cluster = await startCluster({
      nodes: 0,
      collects: 2,
      together: true,
      environment: { LEASE_MS: "1000" },
      releaseOf: (name) => (isOld(name) ? before : process.cwd()),
    });
  }, BUILD_DEADLINE_MS);
  afterAll(() => cluster?.stop());

  type Release = "this" | "before";
  async function ask(release: Release, method: string, path: string, body?: unknown) {
    const { url = "" } = cluster.collects[release === "this" ? 0 : 1] ?? {};
    const answer = await askService(`${url}${path}`, {
      method,
      headers: { authorization: `Bearer ${cluster.apiKey}`, "content-type": "application/json" },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    return { status: answer.status, body: (text === "" ? {} : JSON.parse(text)) as Record<string, unknown> };
  }

  async function schedule(release: Release, user: string, priority: string, atMs: number): Promise<string> {
    const message = { to: { user }, data: `${release} ${priority}`, priority };
    const { status, body } = await ask(release, "POST", "/v1/messages", {
      ...message,
      deliverAt: new Date(atMs).toISOString(),
    });
    expect(status).toBe(202);
    return String(body["id"]);
  }

  /** What was said of a user's messages, in order. */
  async function textsOf(release: Release, path: string): Promise<unknown[]> {
    const { body } = await ask(release, "GET", path);
    return (body["items"] as readonly { readonly data: unknown }[]).map(({ data }) => data);
  }

  async function replaceDispatcher(isOld: boolean): Promise<void> {
    const running = cluster.newest("dispatch-1");
    running.signal("SIGTERM");
    await running.exited;
    dispatchIsOld = isOld;
    await cluster.startAgain(running);
  }

  /** @returns whether all of it was done before the time came */
  async function exchange(user: string, aheadMs: number): Promise<boolean> {
    const atMs = Date.now() + aheadMs;
    for (const priority of ["low", "high"]) await schedule("this", user, priority, atMs);
    for (const priority of ["normal", "low"]) await schedule("before", user, priority, atMs);
    await schedule("this", user, "low", atMs - 500);
    const takenBack = [
      { by: "before", id: await schedule("this", user, "high", atMs) },
      { by: "this", id: await schedule("before", user, "high", atMs) },
    ] as const;
    for (const { by, id } of takenBack)
      expect((await ask(by, "DELETE", `/v1/messages/${id}`)).status).toBe(204);
    const waiting = `/v1/users/${user}/messages?state=scheduled`;
    const listed = { this: await textsOf("this", waiting), before: await textsOf("before", waiting) };
    if (Date.now() > atMs - 600) return false;
    expect(listed).toEqual({ this: order, before: order });
    return true;
  }

  test("either release promotes, lists and cancels what the other stored", async () => {
    for (const dispatcher of ["before", "this"] as const) {
      if (dispatcher === "this") await replaceDispatcher(false);
      let user = "";
      for (const aheadMs of AHEAD_MS) {
        user = `with.${dispatcher}.${aheadMs}`;
        if (await exchange(user, aheadMs)) break;
      }
      const stored = `/v1/users/${user}/messages`;
      await waitFor(async () => (await textsOf("this", stored)).length === order.length, {
        what: `all of them, with a dispatcher of the release ${dispatcher}`,
        deadlineMs: 120_000,
      });
      expect(await textsOf("this", stored)).toEqual(order);
    }
  });
});
