// Tests presence, disconnecting, and collect's own documentation, by its application on real Redis.
import { connectRoute } from "@petrel/shared/redis/routes/connect-routes";
import { producerSecurity } from "@petrel/shared/security/producers/producer-security";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type OpenCollect, openCollect } from "./testing/open-collect.js";

let collect: OpenCollect;

beforeAll(async () => {
  collect = await openCollect();
});
afterAll(() => collect.close());

const connect = (userId: string, node: string, connection: string, connectTimeMs: number) =>
  connectRoute(
    collect.store.scripts,
    collect.keysOf(userId),
    { userId, node, connection, platform: "web", connectTimeMs },
    { leaseMs: 60_000, maxConnectionsPerUser: 5, whenFull: "evict", ackTimeoutMs: 10_000 },
  );

describe("presence and disconnect", () => {
  test("answer for a user without connections", async () => {
    expect(await collect.ask("GET", "/v1/users/off/presence")).toMatchObject({
      status: 200,
      body: { online: false, connections: [] },
    });
    expect(await collect.ask("POST", "/v1/users/off/disconnect")).toMatchObject({
      status: 200,
      body: { disconnected: 0 },
    });
  });

  test("list connections oldest first, and tell their nodes to close them", async () => {
    const nowMs = await collect.store.nowMs();
    await connect("on", "node-b.1", "c2", nowMs - 1_000);
    await connect("on", "node-a.1", "c1", nowMs - 2_000);
    await connect("on", "node-a.1", "c3", nowMs);
    await connect("on", "node-c.1", "c4", nowMs);
    expect(await collect.ask("GET", "/v1/users/on/presence")).toMatchObject({
      status: 200,
      body: {
        online: true,
        connections: [
          { id: "c1", node: "node-a.1", platform: "web", connectedAt: new Date(nowMs - 2_000).toISOString() },
          { id: "c2", node: "node-b.1" },
          { id: "c3", node: "node-a.1" },
          { id: "c4", node: "node-c.1" },
        ],
      },
    });

    // Nobody listens for node-c: its connection is not counted.
    const { channel } = collect.keysOf("on");
    const heard = await collect.store.listen(`${channel}node-a.1`, `${channel}node-b.1`);
    expect(await collect.ask("POST", "/v1/users/on/disconnect", { body: {} })).toMatchObject({
      status: 200,
      body: { disconnected: 3 },
    });
    await waitFor(() => heard.length === 2, { what: "both nodes to hear" });
    expect(heard).toEqual(["disconnect\non", "disconnect\non"]);
  });

  test("a disconnect accepts no fields", async () => {
    for (const body of [{ reason: "x" }, [1], null]) {
      expect(await collect.ask("POST", "/v1/users/on/disconnect", { body })).toMatchObject({
        status: 400,
        body: { error: { code: "PETREL_INVALID_REQUEST" } },
      });
    }
  });
});

describe("the OpenAPI document", () => {
  interface OpenApi {
    readonly paths: Record<
      string,
      Record<string, { security?: unknown; responses: object; description?: string }>
    >;
  }

  test("names every route, its callers and its answers", async () => {
    const { body } = await collect.ask("GET", "/docs/json");
    const { paths } = body as OpenApi;
    const routes = Object.entries(paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
    );
    expect(routes.sort()).toEqual([
      "DELETE /v1/messages/{id}",
      "DELETE /v1/users/{id}",
      "DELETE /v1/users/{id}/topics/{topic}",
      "GET /v1/events",
      "GET /v1/messages/{id}",
      "GET /v1/presence",
      "GET /v1/topics/{topic}",
      "GET /v1/topics/{topic}/messages",
      "GET /v1/topics/{topic}/presence",
      "GET /v1/users/{id}",
      "GET /v1/users/{id}/messages",
      "GET /v1/users/{id}/presence",
      "GET /v1/users/{id}/topics",
      "POST /v1/messages",
      "POST /v1/messages/batch",
      "POST /v1/users/{id}/disconnect",
      "PUT /v1/users/{id}/topics/{topic}",
    ]);
    for (const operation of Object.values(paths).flatMap((methods) => Object.values(methods))) {
      expect(operation.security).toEqual(producerSecurity);
      expect(operation.description).toMatch(/Scope: `(send|read|admin)`/);
      expect(Object.keys(operation.responses)).toEqual(expect.arrayContaining(["400", "401", "403", "503"]));
    }
  });

  test("states the validator's bounds: 1 to 2592000 seconds, 1000 users", async () => {
    const text = JSON.stringify((await collect.ask("GET", "/docs/json")).body);
    expect(text).toContain('"maximum":2592000,"default":604800');
    expect(text).toContain('"maxItems":1000,"uniqueItems":true');
    const { components } = JSON.parse(text) as { components: { schemas: Record<string, unknown> } };
    const { Message, Notification } = components.schemas;
    // Code fills it in, and not for topics.
    expect(Message).toMatchObject({ properties: { fallback: { default: "offline" } } });
    expect(text).not.toContain("x-default");
    // A field whose name is also a keyword of schemas.
    expect(Notification).toMatchObject({ properties: { title: { type: "string" } } });
  });

  test("is served as a page, too", async () => {
    const { statusCode, body } = await collect.app.inject({ url: "/docs/" });
    expect(statusCode).toBe(200);
    expect(body).toContain("swagger");
  });
});

test("answers health, readiness and version without a credential", async () => {
  const as = undefined;
  expect(await collect.ask("GET", "/health/live", { as })).toMatchObject({ status: 200 });
  expect(await collect.ask("GET", "/health/ready", { as })).toMatchObject({
    status: 200,
    body: { status: "ready", checks: { redis: "ok" } },
  });
  expect(await collect.ask("GET", "/version", { as })).toMatchObject({ body: { service: "collect" } });
});
