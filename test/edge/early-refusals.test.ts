// Flow: what clients in other languages see of a refusal that comes before they have sent their body: Python's
// http.client and urllib send all of it first.
// Guarantees: on each service they read the answer, with its code; none of them sees a broken pipe or a reset.
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";

const run = promisify(execFile);
const MIB = 1024 * 1024;

const PROGRAM = `
import http.client, json, sys, urllib.error, urllib.request

for name, port, path, headers, size in json.load(sys.stdin):
    body = b" " * size
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        low = [answer.status, json.load(answer)["error"]["code"]]
    except Exception as error:
        low = repr(error)
    try:
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, headers)
        urllib.request.urlopen(request, timeout=30)
        high = "taken"
    except urllib.error.HTTPError as error:
        high = [error.code, json.load(error)["error"]["code"]]
    except Exception as error:
        high = repr(error)
    print(json.dumps([name, low, high]))
`;

let cluster: TestCluster;
beforeAll(async () => {
  cluster = await startCluster({
    together: true,
    nodes: 1,
    environment: { REQUESTS_PER_ADDRESS_PER_SECOND: "1" },
  });
});
afterAll(() => cluster.stop());

test("Python reads every early refusal", async () => {
  const json = { "content-type": "application/json" };
  const good = { authorization: `Bearer ${cluster.apiKey}` };
  const admin = { authorization: `Bearer ${cluster.adminKey}` };
  const bad = { authorization: "Bearer no.body" };
  const { auth, collect, dispatchers, nodes } = cluster;
  const dispatch = dispatchers[0]?.port ?? 0;
  const node = nodes[0]?.port ?? 0;
  const asked: readonly (readonly [string, number, string, Readonly<Record<string, string>>, number])[] = [
    ["collect 413", collect.port, "/v1/messages", { ...json, ...good }, 12 * MIB],
    ["collect 401", collect.port, "/v1/messages", { ...json, ...bad }, 6 * MIB],
    ["collect 415", collect.port, "/v1/messages", { ...good, "content-type": "text/xml" }, 6 * MIB],
    ["auth 413", auth.port, "/v1/tokens", { ...json, ...admin }, 6 * MIB],
    ["auth 401", auth.port, "/v1/tokens", { ...json, ...bad }, 6 * MIB],
    ["dispatch 404", dispatch, "/v1/dead-letters", { ...json, ...admin }, 6 * MIB],
    ["push node 404", node, "/v1/connect", json, 6 * MIB],
    // The first ten in ten seconds are let in, but each is too large.
    ...Array.from({ length: 10 }, () => ["", auth.port, "/v1/tokens/refresh", json, MIB] as const),
    ["auth 429", auth.port, "/v1/tokens/refresh", json, 6 * MIB],
  ];
  const python = run("python3", ["-c", PROGRAM], { maxBuffer: MIB });
  python.child.stdin?.end(JSON.stringify(asked));
  const { stdout } = await python;
  const seen = stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as [string, unknown, unknown])
    .filter(([name]) => name !== "");
  const expected = (name: string, status: number, code: string) => [name, [status, code], [status, code]];
  expect(seen).toEqual([
    expected("collect 413", 413, "PETREL_PAYLOAD_TOO_LARGE"),
    expected("collect 401", 401, "PETREL_UNAUTHENTICATED"),
    expected("collect 415", 415, "PETREL_UNSUPPORTED_MEDIA_TYPE"),
    expected("auth 413", 413, "PETREL_PAYLOAD_TOO_LARGE"),
    expected("auth 401", 401, "PETREL_UNAUTHENTICATED"),
    expected("dispatch 404", 404, "PETREL_NOT_FOUND"),
    expected("push node 404", 404, "PETREL_NOT_FOUND"),
    expected("auth 429", 429, "PETREL_RATE_LIMITED"),
  ]);
});
