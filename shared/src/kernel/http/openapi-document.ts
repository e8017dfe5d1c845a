// kernel/http-app -> here: a service's OpenAPI document, made from the schemas of its routes.
// Guarantees: every operation has its own name and lists every status it may answer, including those of the framework
// and of Node. Shared parts stand in `components` once. Rules that only code checks are documented beside that code.
import { isDeepStrictEqual } from "node:util";

/** A JSON schema, or a part of an OpenAPI document. */
export interface OpenApiPart {
  [name: string]: unknown;
}

/** Rules that code checks beyond a schema, by the schema's title: documented, not validated. */
export type DocumentedRules = Readonly<Record<string, Readonly<OpenApiPart>>>;

/**
 * In a schema: a default that our code fills in, because it must know whether the field was present. The document shows
 * it as `default`; the validator must not see that word, or it would fill it in.
 */
export const CODE_DEFAULT = "x-default";

interface Operation extends OpenApiPart {
  operationId?: string;
  security?: readonly unknown[];
  requestBody?: { required?: boolean; content?: Record<string, { schema?: OpenApiPart }> };
  responses?: Record<string, OpenApiPart>;
}

const headerScheme = (name: string, description: string) =>
  ({ type: "apiKey", in: "header", name, description }) as const;

/** The schemes that routes name: a bearer credential, or all four headers of a producer's signature. */
const securitySchemes = {
  bearer: { type: "http", scheme: "bearer" },
  petrelKey: headerScheme("petrel-key", "The producer key's id; see docs/send/producers.md."),
  petrelId: headerScheme("petrel-id", "A nonce, good once: 1 to 128 visible ASCII characters."),
  petrelTimestamp: headerScheme("petrel-timestamp", "Unix time in seconds, at most 300 from the server's."),
  petrelSignature: headerScheme(
    "petrel-signature",
    "v1,<base64 HMAC-SHA256>; several, separated by spaces, of which one must match.",
  ),
} as const;

/** Errors that any request may get, whatever its route. */
const sharedRefusals: Readonly<Record<string, string>> = {
  "400": "The request is wrong, or not HTTP.",
  "401": "No credential, or not a valid one.",
  "403": "The credential is valid, but not for this.",
  "404": "There is no such resource.",
  "408": "The request did not arrive in time.",
  "409": "The current state does not allow it.",
  "413": "The body is too large.",
  "415": "The body's content type is not supported.",
  "422": "The same idempotency key with different content.",
  "429": "Too many requests: `Retry-After` says when to try again.",
  "431": "The request's head is too large.",
  "500": "A fault inside Petrel.",
  "501": "Part of the contract, but not built yet.",
  "503": "Not now: `Retry-After` says when to try again.",
};
const ofAll = ["400", "408", "429", "431", "500", "503"];
const ofBodies = ["413", "415"];
const METHODS = ["get", "put", "post", "delete", "patch"];

/** The parts of the document besides the routes. */
export function describeService({
  service,
  version,
}: {
  readonly service: string;
  readonly version: string;
}) {
  return {
    openapi: "3.1.0",
    info: {
      title: `Petrel ${service}`,
      version,
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    servers: [{ url: "/", description: "The server this document was read from." }],
    components: { securitySchemes },
  };
}

/** @throws Error if two schemas share a title, or two operations a name: a bug in our routes */
export function completeDocument(document: OpenApiPart, rules: DocumentedRules = {}): OpenApiPart {
  const shared = new SharedSchemas(rules);
  const names = new Set<string>();
  const paths = Object.entries((document["paths"] ?? {}) as Record<string, Record<string, Operation>>).map(
    ([path, operations]) => {
      const completed = Object.entries(operations).map(([method, operation]) => {
        if (!METHODS.includes(method)) return [method, operation] as const;
        return [method, completeOperation(path, method, operation, names, shared)] as const;
      });
      return [path, Object.fromEntries(completed)] as const;
    },
  );
  const components = (document["components"] ?? {}) as OpenApiPart;
  const error = { $ref: "#/components/schemas/Error" };
  const responses = Object.entries(sharedRefusals).map(([status, description]) => [
    nameOfRefusal(status),
    { description, content: { "application/json": { schema: error } } },
  ]);
  return {
    ...document,
    paths: Object.fromEntries(paths),
    components: {
      ...components,
      schemas: shared.all(),
      responses: Object.fromEntries(responses),
    },
  };
}

function completeOperation(
  path: string,
  method: string,
  operation: Operation,
  names: Set<string>,
  shared: SharedSchemas,
): Operation {
  const operationId = operation.operationId ?? nameOfOperation(method, path);
  if (names.has(operationId)) throw new Error(`two operations are named ${operationId}`);
  names.add(operationId);
  const { requestBody, responses = {}, security = [] } = operation;
  const added = [
    ...ofAll,
    ...(requestBody === undefined ? [] : ofBodies),
    ...(security.length === 0 ? [] : ["401"]),
  ];
  const declared = Object.entries(responses).map(([status, response]): [string, OpenApiPart] => {
    if (Number(status) < 400) return [status, withoutEmptyBody(shared.replaceIn(response) as OpenApiPart)];
    shared.replaceIn(response);
    return [status, { $ref: `#/components/responses/${nameOfRefusal(status)}` }];
  });
  const refused = added.map((status): [string, OpenApiPart] => [
    status,
    { $ref: `#/components/responses/${nameOfRefusal(status)}` },
  ]);
  const all = [...new Map([...declared, ...refused])].sort(([a], [b]) => Number(a) - Number(b));
  return {
    ...operation,
    operationId,
    responses: Object.fromEntries(all),
    ...(requestBody === undefined ? {} : { requestBody: completeBody(requestBody, shared) }),
  };
}

/** A body whose schema allows `null` is optional: the framework turns a missing body into null. */
function completeBody(
  body: NonNullable<Operation["requestBody"]>,
  shared: SharedSchemas,
): NonNullable<Operation["requestBody"]> {
  let required = true;
  const content = Object.entries(body.content ?? {}).map(([type, { schema, ...media }]) => {
    const { isOptional, present } = readOptional(schema ?? {});
    if (isOptional) required = false;
    return [type, { ...media, schema: shared.replaceIn(present) as OpenApiPart }] as const;
  });
  return { ...body, content: Object.fromEntries(content), required };
}

function readOptional(schema: OpenApiPart): { readonly isOptional: boolean; readonly present: OpenApiPart } {
  const variants = (schema["anyOf"] ?? []) as OpenApiPart[];
  const present = variants.filter(({ type }) => type !== "null");
  const [only] = present;
  if (variants.length === 0 || present.length === variants.length || only === undefined) {
    return { isOptional: schema["x-optional"] === true, present: schema };
  }
  return { isOptional: true, present: present.length === 1 ? only : { ...schema, anyOf: present } };
}

/** A 204 has no content, whatever its schema says. */
function withoutEmptyBody(response: OpenApiPart): OpenApiPart {
  const content = Object.values((response["content"] ?? {}) as Record<string, { schema?: OpenApiPart }>);
  if (!content.some(({ schema }) => schema?.["type"] === "null")) return response;
  const { content: _none, ...rest } = response;
  return rest;
}

/** `GET /v1/users/{id}/messages`: getUsersByIdMessages. */
function nameOfOperation(method: string, path: string): string {
  const words = path
    .replace(/^\/v\d+\//, "/")
    .split(/[^A-Za-z0-9{}]+/)
    .filter((word) => word !== "")
    .map((word) =>
      word
        .replace(/^\{(.+)\}$/, "By $1")
        .replace(/(^| )(\w)/g, (_all, _gap, first: string) => first.toUpperCase()),
    );
  return method + words.join("");
}

function nameOfRefusal(status: string): string {
  const known = sharedRefusals[status];
  if (known === undefined) throw new Error(`no refusal is described with the status ${status}`);
  return `Refusal${status}`;
}

/** Schemas with a title, each listed once. */
class SharedSchemas {
  readonly #rules: DocumentedRules;
  readonly #found = new Map<string, OpenApiPart>();

  constructor(rules: DocumentedRules) {
    this.#rules = rules;
  }

  /** @returns the same, with references in place of titled schemas */
  replaceIn(part: unknown): unknown {
    if (Array.isArray(part)) return part.map((one) => this.replaceIn(one));
    if (typeof part !== "object" || part === null) return part;
    const { title, "x-optional": _optional, [CODE_DEFAULT]: filledIn, ...rest } = part as OpenApiPart;
    const replaced: OpenApiPart = Object.fromEntries(
      // Examples are data, even if they look like schemas.
      Object.entries(rest).map(([name, value]) => [
        name,
        name === "examples" ? value : this.replaceIn(value),
      ]),
    );
    if (filledIn !== undefined) replaced["default"] = filledIn;
    // A field that is called `title`, not a title.
    if (title !== undefined && typeof title !== "string") replaced["title"] = this.replaceIn(title);
    if (typeof title !== "string") return replaced;
    const schema = { ...replaced, ...this.#rules[title] };
    const known = this.#found.get(title);
    if (known !== undefined && !isDeepStrictEqual(known, schema)) {
      throw new Error(`two schemas have the title ${title}`);
    }
    this.#found.set(title, schema);
    return { $ref: `#/components/schemas/${title}` };
  }

  all(): OpenApiPart {
    return Object.fromEntries([...this.#found].sort(([a], [b]) => (a < b ? -1 : 1)));
  }
}
