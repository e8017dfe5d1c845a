// Tests the OpenAPI documents of running services as a code generator meets them.
// Guarantees: every operation has a name and lists each status it may answer; shared parts stand there once; every
// reference resolves; an optional body is not required.
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

interface Operation {
  readonly operationId?: string;
  readonly security?: readonly unknown[];
  readonly parameters?: readonly unknown[];
  readonly requestBody?: { readonly required?: boolean };
  readonly responses: Readonly<Record<string, { readonly $ref?: string; readonly content?: unknown }>>;
}
interface Document {
  readonly servers?: readonly { readonly url: string }[];
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: {
    readonly schemas: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
    readonly responses: Readonly<Record<string, unknown>>;
  };
}

const services = ["auth", "collect", "dispatch"] as const;
const documents = new Map<string, Document>();

let cluster: TestCluster;
beforeAll(async () => {
  cluster = await startCluster({ together: true, nodes: 1 });
  const urls = [cluster.auth.url, cluster.collect.url, cluster.dispatchers[0]?.url ?? ""];
  for (const [i, service] of services.entries()) {
    const answer = await fetch(`${urls[i]}/openapi.json`);
    documents.set(service, (await answer.json()) as Document);
  }
});
afterAll(() => cluster?.stop());

const documentOf = (service: string): Document => documents.get(service) as Document;
const operationsOf = (service: string): [string, Operation][] =>
  Object.entries(documentOf(service).paths).flatMap(([path, operations]) =>
    Object.entries(operations).map(([method, operation]): [string, Operation] => [
      `${method.toUpperCase()} ${path}`,
      operation,
    ]),
  );
const operation = (service: string, name: string): Operation =>
  new Map(operationsOf(service)).get(name) as Operation;

describe.each(services)("%s", (service) => {
  test("states its server, and names each operation once", () => {
    expect(documentOf(service).servers).toEqual([expect.objectContaining({ url: "/" })]);
    const names = operationsOf(service).map(([, { operationId }]) => operationId);
    for (const name of names) expect(name).toMatch(/^[a-z][A-Za-z0-9]+$/);
    expect(new Set(names).size).toBe(names.length);
    expect(names.length).toBeGreaterThan(5);
  });

  test("lists every status that the framework, Node and the limits answer", () => {
    for (const [name, { requestBody, responses, security = [] }] of operationsOf(service)) {
      const statuses = Object.keys(responses);
      expect(statuses, name).toEqual(expect.arrayContaining(["400", "408", "429", "431", "500", "503"]));
      if (requestBody !== undefined) expect(statuses, name).toEqual(expect.arrayContaining(["413", "415"]));
      if (security.length > 0) expect(statuses, name).toContain("401");
    }
  });

  test("has the error's shape once, referenced by every refusal", () => {
    const { components } = documentOf(service);
    expect(components.schemas["Error"]).toMatchObject({ required: ["error"] });
    for (const [name, { responses }] of operationsOf(service)) {
      for (const [status, { $ref }] of Object.entries(responses)) {
        if (Number(status) >= 400) expect($ref, name).toBe(`#/components/responses/Refusal${status}`);
      }
    }
  });

  test("has no dangling reference, and repeats no object of its own", () => {
    const document = documentOf(service);
    const text = JSON.stringify(document);
    for (const [, kind = "", name = ""] of text.matchAll(/"#\/components\/(\w+)\/(\w+)"/g)) {
      expect(document.components[kind as "schemas"], name).toHaveProperty(name);
    }
    const bodies = new Map<string, string>();
    for (const [name, { requestBody, responses }] of operationsOf(service)) {
      for (const part of [requestBody, ...Object.values(responses)]) {
        for (const [schema] of JSON.stringify(part ?? {}).matchAll(/\{"type":"object".*?\}/g)) {
          // A generator makes a class twice only for a larger schema; a small object of one operation is fine.
          if (schema.length > 60) expect(bodies.get(schema) ?? name, schema).toBe(name);
          bodies.set(schema, name);
        }
      }
    }
  });

  test("a 204 has no content", () => {
    for (const [name, { responses }] of operationsOf(service)) {
      expect(responses["204"]?.content, name).toBeUndefined();
    }
  });
});

test("optional bodies are not required; the others are", () => {
  const required = (service: string, name: string) => operation(service, name).requestBody?.required;
  for (const name of [
    "POST /v1/tokens/revoke",
    "POST /v1/tickets",
    "POST /v1/keys/{id}/rotate",
    "POST /v1/signing-keys/rotate",
  ]) {
    expect(required("auth", name), name).toBe(false);
  }
  for (const [service, name] of [
    ["auth", "POST /v1/tokens"],
    ["auth", "PUT /v1/devices"],
    ["auth", "POST /v1/introspect"],
    ["collect", "POST /v1/messages"],
    ["collect", "POST /v1/messages/batch"],
  ] as const) {
    expect(required(service, name), name).toBe(true);
  }
});

test("documents what only code checks: one kind of recipient, a platform's device fields, which token", () => {
  const { Recipient, Batch } = documentOf("collect").components.schemas;
  expect(Recipient?.["oneOf"]).toHaveLength(4);
  expect(Batch).toMatchObject({
    properties: { messages: { items: { $ref: "#/components/schemas/Message" } } },
  });
  const { NewDevice, Revocation, NewProducerKey } = documentOf("auth").components.schemas;
  expect(NewDevice?.["oneOf"]).toHaveLength(3);
  expect(Revocation?.["oneOf"]).toHaveLength(3);
  expect(NewProducerKey?.["not"]).toBeDefined();
});

test("events can be read as a stream, which resumes by a header", () => {
  const { parameters = [], responses } = operation("collect", "GET /v1/events");
  expect(Object.keys(responses["200"]?.content ?? {})).toEqual(["application/json", "text/event-stream"]);
  expect(parameters).toContainEqual(
    expect.objectContaining({ in: "header", name: "last-event-id", required: false }),
  );
});

test("accepts an empty body where none is needed", async () => {
  const { token } = { token: await cluster.tokenFor("openapi") };
  const answer = await fetch(`${cluster.auth.url}/v1/tickets`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}` },
  });
  expect(answer.status).toBe(201);
});
