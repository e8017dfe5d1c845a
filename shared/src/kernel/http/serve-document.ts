// http-app -> here -> openapi-document: `/openapi.json`, and the pages under `/docs` that show it.
// Guarantees: the code that makes and shows the document is loaded on the first request for it; most processes never
// get one.
import fastify, {
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  type RouteOptions,
} from "fastify";
import { completeDocument, describeService, type DocumentedRules } from "./openapi-document.js";

export interface DocumentOptions {
  readonly service: string;
  readonly version: string;
  readonly rules: DocumentedRules | undefined;
}

/** Call it before adding the routes that the document describes. */
export async function serveDocument(app: FastifyInstance, options: DocumentOptions): Promise<void> {
  const routes: RouteOptions[] = [];
  app.addHook("onRoute", (route) => void routes.push(route));
  let opening: Promise<FastifyInstance> | undefined;

  async function answer(request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
    opening ??= openDocuments(routes, options);
    // Do not keep a failure: it may pass, such as a lack of file descriptors.
    const documents = await opening.catch((error: unknown) => {
      opening = undefined;
      throw error;
    });
    // The framework derives the answer to HEAD from this one.
    const found = await documents.inject({ method: "GET", url: request.url, headers: request.headers });
    if (found.statusCode === 404) return reply.callNotFound();
    const { connection: _connection, date: _date, ...headers } = found.headers;
    const body = found.rawPayload.length > 0 ? found.rawPayload : undefined;
    return reply.code(found.statusCode).headers(headers).send(body);
  }

  app.get("/openapi.json", { schema: { hide: true } }, answer);
  // In a context of their own: hooks for the API must not run for the pages.
  await app.register((pages, _options, done) => {
    pages.get("/docs", { schema: { hide: true } }, answer);
    pages.get("/docs/*", { schema: { hide: true } }, answer);
    done();
  });
}

/** An application that never listens. It has the same routes, but answers none of them. */
async function openDocuments(
  routes: readonly RouteOptions[],
  { service, version, rules }: DocumentOptions,
): Promise<FastifyInstance> {
  const [{ default: swagger }, { default: swaggerUi }] = await Promise.all([
    import("@fastify/swagger"),
    import("@fastify/swagger-ui"),
  ]);
  const documents = fastify();
  documents.setValidatorCompiler(() => () => true);
  documents.setSerializerCompiler(() => JSON.stringify);
  await documents.register(swagger, {
    openapi: describeService({ service, version }),
    transformObject: (made) =>
      "openapiObject" in made ? completeDocument(made.openapiObject, rules) : made.swaggerObject,
  });
  documents.get("/openapi.json", { schema: { hide: true } }, (_request, reply) =>
    reply.type("application/json; charset=utf-8").send(JSON.stringify(documents.swagger())),
  );
  await documents.register(swaggerUi, { routePrefix: "/docs" });
  for (const { method, url, schema = {} } of routes) {
    if (method === "HEAD" || isHidden(schema)) continue;
    documents.route({ method, url, schema, handler: (_request, reply) => reply.callNotFound() });
  }
  await documents.ready();
  return documents;
}

function isHidden(schema: { readonly hide?: boolean }): boolean {
  return schema.hide === true;
}
