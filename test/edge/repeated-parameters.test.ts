// Tests what a query parameter that is given twice gets, for every one that the documents of the interfaces name.
// Guarantees: one rule for all: 400, naming the parameter, even if both values are the same. Neither wins in silence.
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { request, type IncomingMessage } from "node:http";
import { json } from "node:stream/consumers";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

interface Parameter {
  readonly in: string;
  readonly name: string;
  readonly schema: { readonly enum?: readonly string[]; readonly default?: string };
}

interface OpenApi {
  readonly paths: Readonly<Record<string, Readonly<Record<string, { readonly parameters?: Parameter[] }>>>>;
}

interface AsyncApi {
  readonly channels: {
    readonly connect: {
      readonly bindings: {
        readonly ws: { readonly query: { readonly properties: Readonly<Record<string, unknown>> } };
      };
    };
  };
}

const ASYNC_API = new URL("../../docs/asyncapi.json", import.meta.url);

let cluster: TestCluster;
beforeAll(async () => {
  cluster = await startCluster({ together: true, nodes: 1 });
});
afterAll(() => cluster?.stop());

const services = {
  auth: () => cluster.auth.url,
  collect: () => cluster.collect.url,
  dispatch: () => cluster.dispatchers[0]?.url ?? "",
};

describe.each(Object.keys(services) as (keyof typeof services)[])("%s", (service) => {
  test("refuses each of its query parameters given twice", async () => {
    const url = services[service]();
    const { paths } = (await (await fetch(`${url}/openapi.json`)).json()) as OpenApi;
    // (Users' own routes refuse an operator's key first: they need a user's token.)
    const token = await cluster.tokenFor("ada");
    let tried = 0;
    for (const [path, operations] of Object.entries(paths)) {
      for (const [method, { parameters = [] }] of Object.entries(operations)) {
        for (const { name, schema } of parameters.filter((one) => one.in === "query")) {
          const value = schema.enum?.[0] ?? schema.default ?? "1";
          const target = `${path.replaceAll(/\{\w+\}/g, "x")}?${name}=${value}&${name}=${value}`;
          const credential = path.startsWith("/v1/devices") ? token : cluster.adminKey;
          const answer = await fetch(`${url}${target}`, {
            method: method.toUpperCase(),
            headers: { authorization: `Bearer ${credential}` },
          });
          const field = `querystring/${name}`;
          expect([answer.status, await answer.json()], `${method} ${target}`).toMatchObject([
            400,
            {
              error: {
                code: "PETREL_INVALID_REQUEST",
                message: `${field}: is given more than once`,
                details: { field },
              },
            },
          ]);
          tried++;
        }
      }
    }
    expect(tried).toBeGreaterThan(5);
  });
});

test("a push node refuses each of its query parameters given twice", async () => {
  const asyncApi = JSON.parse(await readFile(ASYNC_API, "utf8")) as AsyncApi;
  const names = Object.keys(asyncApi.channels.connect.bindings.ws.query.properties);
  expect(names).toContain("since");
  for (const name of names) {
    const { host } = new URL(cluster.nodes[0]?.url ?? "");
    const asked = request(`http://${host}/v1/connect?${name}=auto&${name}=auto`, {
      headers: {
        connection: "upgrade",
        upgrade: "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
      },
    }).end();
    const [answer] = (await once(asked, "response")) as [IncomingMessage];
    expect([answer.statusCode, await json(answer)], name).toMatchObject([
      400,
      {
        error: {
          code: "PETREL_INVALID_REQUEST",
          message: expect.stringMatching(/more than once|More than one credential/) as string,
        },
      },
    ]);
  }
});
