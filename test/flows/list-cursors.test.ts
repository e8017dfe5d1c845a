// Tests the cursor of every list that any service answers, found in their OpenAPI documents: a matching text is
// answered with a page, any other with 400.
// Guarantees: real processes; whatever the pattern, its edges are tried.
import { askService, type ServiceAnswer } from "@petrel/shared/testing/cluster/ask-service";
import * as fc from "fast-check";
import { chooseSeed } from "@petrel/shared/testing/faults/seeded-random";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { afterAll, beforeAll, expect, test } from "vitest";

interface Parameter {
  readonly in: string;
  readonly name: string;
  readonly schema: { readonly pattern?: string };
}
interface Operation {
  readonly parameters?: readonly Parameter[];
}
interface ListRoute {
  readonly service: string;
  readonly url: string;
  readonly path: string;
  readonly name: string;
  readonly pattern: string;
}

const POSITIONS = ["cursor", "after"];
const RUNS = 25;
const seed = chooseSeed("list-cursors");

let cluster: TestCluster;
let routes: readonly ListRoute[];
beforeAll(async () => {
  cluster = await startCluster({ together: true, nodes: 1 });
  const services = [cluster.auth, cluster.collect, ...cluster.dispatchers, ...cluster.nodes];
  routes = (await Promise.all(services.map(({ name, url }) => listRoutesOf(name, url)))).flat();
});
afterAll(() => cluster?.stop());

async function listRoutesOf(service: string, url: string): Promise<ListRoute[]> {
  const answer = await askService(`${url}/openapi.json`);
  if (!answer.ok) return [];
  const { paths } = (await answer.json()) as { paths: Record<string, Record<string, Operation>> };
  return Object.entries(paths).flatMap(([path, operations]) =>
    (operations["get"]?.parameters ?? [])
      .filter((parameter) => parameter.in === "query" && POSITIONS.includes(parameter.name))
      // A cursor of events carries a checksum, which no form can say; attempts belong to a webhook that must be there; and
      // this cluster has no archive.
      .filter(() => !["/v1/events", "/v1/webhooks/{id}/attempts", "/v1/archive"].includes(path))
      .map(({ name, schema }) => ({ service, url, path, name, pattern: schema.pattern ?? "" })),
  );
}

async function ask({ url, path, name }: ListRoute, position: string): Promise<ServiceAnswer> {
  // A user's inbox goes on by number; only what waits for its time has a cursor.
  const isScheduled = path === "/v1/users/{id}/messages" && name === "cursor";
  const query = new URLSearchParams({ [name]: position, ...(isScheduled ? { state: "scheduled" } : {}) });
  const target = `${url}${path.replace(/\{\w+\}/g, "someone")}?${query}`;
  return askService(target, { headers: { authorization: `Bearer ${cluster.adminKey}` } });
}

/** Texts that match a pattern, also with all digits at their lowest, and at their highest. */
function positionsOf(pattern: string): fc.Arbitrary<string> {
  const any = fc.stringMatching(new RegExp(pattern));
  const fits = (text: string): boolean => new RegExp(pattern).test(text);
  const withDigits = (digit: string) =>
    any.map((text) => (fits(text.replace(/\d/g, digit)) ? text.replace(/\d/g, digit) : text));
  return fc.oneof(any, withDigits("0"), withDigits("9"), withDigits("1"));
}

test("every list has a cursor, and documents its form", () => {
  expect(routes.map(({ path }) => path)).toEqual(
    expect.arrayContaining([
      "/v1/keys",
      "/v1/audit",
      "/v1/devices",
      "/v1/users/{userId}/devices",
      "/v1/users/{id}/messages",
      "/v1/users/{id}/topics",
      "/v1/topics/{topic}/messages",
      "/v1/dead-letters",
      "/v1/invalidations",
      "/v1/partitions",
    ]),
  );
  for (const { pattern, path } of routes) expect(pattern, path).toMatch(/^\^.*\$$/);
});

test("answers any well-formed cursor with a page", async () => {
  for (const route of routes.filter(({ path }) => path !== "/v1/devices")) {
    await fc.assert(
      fc.asyncProperty(positionsOf(route.pattern), async (position) => {
        const answer = await ask(route, position);
        expect([answer.status, await answer.text()], `${route.path} ${position}`).toEqual([
          200,
          expect.stringContaining('"items"'),
        ]);
      }),
      { seed, numRuns: RUNS },
    );
  }
});

test("answers 400 to edges that Redis refuses, and to anything malformed", async () => {
  const edges = [
    "0-0",
    "p0_0-0",
    "p0_rejected_0-0",
    "",
    " ",
    "0",
    "-1",
    "(",
    "+",
    "-",
    "*",
    "1-",
    "x".repeat(200),
  ];
  for (const route of routes.filter(({ path }) => path !== "/v1/devices")) {
    for (const position of edges) {
      const { status } = await ask(route, position);
      const fits = new RegExp(route.pattern).test(position);
      expect(status, `${route.path}?${route.name}=${position}`).toBe(fits ? 200 : 400);
    }
  }
});
