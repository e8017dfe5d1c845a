// Flow: SESSION_POLICY over two nodes, with auth's tokens.
// Guarantees: the newest sign-in stays, on whichever node; the older one is closed with 4409 and told the new platform.
// A client that moves because its node stops replaces only itself, and hears of no sign-in.
import { askService } from "@petrel/shared/testing/cluster/ask-service";
import { afterEach, expect, test } from "vitest";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { connectClient, openClient, type WsClient } from "@petrel/shared/testing/peers/ws-client";

let cluster: TestCluster;
afterEach(() => cluster?.stop());

async function signIn(node: number, userId: string, platform: string): Promise<WsClient> {
  const response = await askService(`${cluster.auth.url}/v1/tokens`, {
    method: "POST",
    headers: { authorization: `Bearer ${cluster.apiKey}`, "content-type": "application/json" },
    body: JSON.stringify({ userId, device: { id: `${platform}-1`, platform } }),
  });
  const { accessToken } = (await response.json()) as { accessToken: string };
  return connectClient({ url: cluster.nodeUrls[node] ?? "", token: accessToken, ack: "each" });
}

async function expectReplaced(client: WsClient, platform: string): Promise<void> {
  expect(await client.untilClosed()).toMatchObject({ code: 4409, reason: "PETREL_SIGNED_IN_ELSEWHERE" });
  expect(client.frames.at(-1)).toMatchObject({
    type: "error",
    code: "PETREL_SIGNED_IN_ELSEWHERE",
    action: "stop",
    message: expect.stringContaining(`"${platform}"`) as string,
  });
}

const connectionsOf = async (userId: string): Promise<readonly { readonly platform: string }[]> => {
  const response = await askService(`${cluster.collect.url}/v1/users/${userId}/presence`, {
    headers: { authorization: `Bearer ${cluster.apiKey}` },
  });
  return ((await response.json()) as { connections: { platform: string }[] }).connections;
};

test("one: the newest sign-in of a user stays, and gets the messages", async () => {
  cluster = await startCluster({ together: true, environment: { SESSION_POLICY: "one" } });
  const page = await signIn(0, "alice", "web");
  const phone = await signIn(1, "alice", "ios");
  await expectReplaced(page, "ios");
  const other = await signIn(0, "bob", "web");
  const tablet = await signIn(1, "alice", "ipados");
  await expectReplaced(phone, "ipados");
  await cluster.post("/v1/messages", { to: { user: "alice" }, data: 1 });
  await tablet.untilMessages(1);
  expect(await connectionsOf("alice")).toMatchObject([{ platform: "ipados" }]);

  // Its node stops, and it comes back on the other before the old socket has closed.
  cluster.nodes[1]?.signal("SIGTERM");
  await tablet.frame("reconnect");
  const moved = await signIn(0, "alice", "ipados");
  expect(await tablet.untilClosed()).toMatchObject({ code: 1012 });
  expect(tablet.frames.some(({ type }) => type === "error")).toBe(false);
  await cluster.post("/v1/messages", { to: { user: "alice" }, data: 2 });
  await moved.untilMessages(1);
  for (const client of [other, moved]) {
    expect(client.closed()).toBeUndefined();
    client.close();
  }
});

test("one-per-platform: of concurrent sign-ins on both nodes, one of each stays", async () => {
  cluster = await startCluster({ together: true, environment: { SESSION_POLICY: "one-per-platform" } });
  const first = await signIn(0, "carol", "web");
  const phone = await signIn(1, "carol", "ios");
  const token = await cluster.tokenFor("carol");
  // Without a device: a page.
  const crowd = Array.from({ length: 12 }, (_, i) =>
    openClient({ url: cluster.nodeUrls[i % 2] ?? "", token }),
  );
  // Some are replaced before their welcome.
  await Promise.all(crowd.map((client) => waitFor(() => client.frames.length > 0, { what: "a frame" })));
  await expectReplaced(first, "web");
  const open = (): readonly WsClient[] => crowd.filter((client) => client.closed() === undefined);
  await waitFor(() => open().length === 1, { what: "the others to be closed" });
  for (const client of crowd) if (client.closed() !== undefined) await expectReplaced(client, "web");
  const platforms = (await connectionsOf("carol")).map(({ platform }) => platform).sort();
  expect(platforms).toEqual(["ios", "web"]);
  expect(phone.closed()).toBeUndefined();
  for (const client of [phone, ...open()]) client.close();
});
