// Flow: `deliverAt` while dispatchers of the release before, which do not know it, are replaced by those of this one, and
// put back.
// Guarantees: refused until a dispatcher of this release has owned the partition, so that nothing waits for ever; after
// that what is stored waits for the next such dispatcher, and comes.
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  BUILD_DEADLINE_MS,
  buildReleaseBefore,
  hasReleaseBefore,
} from "../support/release/release-before.js";

const isThere = await hasReleaseBefore();

describe.runIf(isThere)("beside dispatchers of the release before", () => {
  let cluster: TestCluster;
  let before: string;
  let dispatchIsOld = true;
  beforeAll(async () => {
    before = await buildReleaseBefore();
    cluster = await startCluster({
      nodes: 0,
      together: (name) => !name.startsWith("dispatch"),
      environment: { LEASE_MS: "1000" },
      releaseOf: (name) => (name.startsWith("dispatch") && dispatchIsOld ? before : process.cwd()),
    });
  }, BUILD_DEADLINE_MS);
  afterAll(() => cluster?.stop());

  /** For one user, so for one partition. */
  async function schedule(idempotencyKey: string, deliverAtMs: number) {
    const answer = await fetch(`${cluster.collect.url}/v1/messages`, {
      method: "POST",
      headers: { authorization: `Bearer ${cluster.apiKey}`, "content-type": "application/json" },
      body: JSON.stringify({
        to: { user: "u1" },
        data: 1,
        deliverAt: new Date(deliverAtMs).toISOString(),
        idempotencyKey,
      }),
    });
    const { id = "" } = (await answer.json()) as { id?: string };
    return { status: answer.status, id };
  }

  async function stateOf(id: string): Promise<unknown> {
    const answer = await fetch(`${cluster.collect.url}/v1/messages/${id}`, {
      headers: { authorization: `Bearer ${cluster.apiKey}` },
    });
    return ((await answer.json()) as { state: unknown }).state;
  }

  async function replaceDispatcher(isOld: boolean): Promise<void> {
    const running = cluster.newest("dispatch-1");
    running.signal("SIGTERM");
    await running.exited;
    dispatchIsOld = isOld;
    await cluster.startAgain(running);
  }

  test("it is refused, then taken; what is due while they are put back comes in the end", async () => {
    const farMs = Date.now() + 3_600_000;
    // Its partition has an owner, which never said that it promotes.
    await waitFor(async () => (await schedule("far", farMs)).status === 501, { what: "an old owner" });
    await replaceDispatcher(false);
    await waitFor(async () => (await schedule("far", farMs)).status === 202, {
      what: "an owner that knows it",
    });
    await replaceDispatcher(true);
    const dueMs = Date.now() + 1_000;
    const { status, id } = await schedule("due", dueMs);
    expect(status).toBe(202);
    await waitFor(() => Date.now() > dueMs + 1_500, { what: "its time to be over" });
    expect(await stateOf(id)).toBe("scheduled");
    await replaceDispatcher(false);
    await waitFor(async () => (await stateOf(id)) === "queued", { what: "what was due", deadlineMs: 60_000 });
  });
});
