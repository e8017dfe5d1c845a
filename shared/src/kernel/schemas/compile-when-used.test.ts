// Tests the late compilers.
// Guarantees: they check and write as the framework's own do, and say what is wrong in the same words; each schema is
// compiled once; a request that is good after one that was not has no fault left.
import fastify, { type FastifyInstance, type FastifyServerOptions } from "fastify";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { CompiledSchemas, compileWhenUsed } from "./compile-when-used.js";

const thing = {
  type: "object",
  properties: { count: { type: "integer", minimum: 1 }, note: { type: "string", default: "none" } },
  required: ["count"],
  additionalProperties: false,
} as const;

const query = { type: "object", properties: { flag: { enum: ["a"] } }, additionalProperties: false } as const;

function build(options: FastifyServerOptions): FastifyInstance {
  const app = fastify({
    ...options,
    ajv: { customOptions: { coerceTypes: false, removeAdditional: false, useDefaults: true } },
  });
  app.setErrorHandler((error, _request, reply) => reply.code(400).send(error));
  app.post(
    "/things",
    { schema: { body: thing, querystring: query, response: { 200: thing } } },
    (request) => ({
      ...(request.body as object),
      secret: "not of the schema",
    }),
  );
  return app;
}

const late = build({ schemaController: { compilersFactory: compileWhenUsed() } });
const own = build({});
beforeAll(() => Promise.all([late.ready(), own.ready()]));
afterAll(() => Promise.all([late.close(), own.close()]));

test.each<[string, string, unknown, number]>([
  ["good", "?flag=a", { count: 2 }, 200],
  ["an invalid query", "?flag=x", { count: 2 }, 400],
  ["an invalid body", "", { count: 0 }, 400],
  ["an unknown field", "", { count: 1, more: true }, 400],
  ["nothing", "", {}, 400],
  ["good again, with a default", "", { count: 3 }, 200],
  ["wrong after good", "", { count: "3" }, 400],
])("%s: the answer is the framework's own", async (_what, query, payload, status) => {
  const ask = { method: "POST", url: `/things${query}`, payload: payload as object } as const;
  const [answer, expected] = [await late.inject(ask), await own.inject(ask)];
  expect([answer.statusCode, answer.body]).toEqual([expected.statusCode, expected.body]);
  expect(answer.statusCode).toBe(status);
});

test("a query parameter that is given twice is called that", async () => {
  const answer = await late.inject({ method: "POST", url: "/things?flag=a&flag=a", payload: { count: 2 } });
  expect(answer.statusCode).toBe(400);
  expect(answer.json()).toMatchObject({ message: "querystring/flag is given more than once" });
});

test("compiles a schema once, and not before its route is called", async () => {
  const { buildSerializer } = compileWhenUsed();
  let reads = 0;
  const serialize = (
    buildSerializer as (schemas: object, options: object) => (route: object) => typeof String
  )(
    {},
    {},
  )({
    get schema() {
      reads++;
      return thing;
    },
  });
  expect(reads).toBe(0);
  const first = serialize({ count: 1 });
  const readsOfOne = reads;
  expect([first, serialize({ count: 2 })]).toEqual([
    '{"count":1,"note":"none"}',
    '{"count":2,"note":"none"}',
  ]);
  expect(reads).toBe(readsOfOne);
});

test("of two applications that share compiled schemas, the second compiles nothing that the first has used", async () => {
  const known = new CompiledSchemas();
  const compile = vi.fn(() => () => true);
  const validate = known.validator({}, thing, compile);
  expect(known.validator({}, { ...thing }, compile)).toBe(validate);
  expect(compile).toHaveBeenCalledTimes(1);
  for (const [shared, schema] of [[{}, query] as const, [{ more: thing }, thing] as const])
    expect(known.validator(shared, schema, compile)).not.toBe(validate);
  expect(known.serializer({}, thing, () => () => "text")({})).toBe("text");
});

test("applications that share compiled schemas answer each for itself", async () => {
  const known = new CompiledSchemas();
  const both = [1, 2].map(() => build({ schemaController: { compilersFactory: compileWhenUsed(known) } }));
  for (const payload of [{ count: 0 }, { count: 2 }, { count: "2" }, { count: 3 }])
    for (const url of ["/things?flag=a", "/things?flag=x", "/things"]) {
      const ask = { method: "POST", url, payload } as const;
      const expected = await own.inject(ask);
      for (const app of both) {
        const answer = await app.inject(ask);
        expect([answer.statusCode, answer.body]).toEqual([expected.statusCode, expected.body]);
      }
    }
  await Promise.all(both.map((app) => app.close()));
});
