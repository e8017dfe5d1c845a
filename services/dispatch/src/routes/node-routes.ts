// /v1/nodes: for operators: lists the push nodes and asks one to drain.
// Guarantees: only for the scope admin. A request to a node stands in Redis until the node stops or the request is
// withdrawn. A node of a release that would ignore it is never asked. The audit log names who asked.
import { PetrelError } from "@petrel/shared/kernel/errors";
import { formatTime } from "@petrel/shared/kernel/http/answer-time";
import { conflictError, notFoundError, producerErrors } from "@petrel/shared/kernel/http/error-schema";
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import { noQuerySchema } from "@petrel/shared/kernel/http/no-query-schema";
import { Type } from "@petrel/shared/kernel/schemas/json-schema";
import type { AuditLog } from "@petrel/shared/redis/auth/audit-log";
import { awaitAnswer } from "@petrel/shared/redis/connection/await-answer";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import { askToDrain, type ListedNode, listNodes } from "@petrel/shared/redis/nodes/node-reports";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import type { ProducerAuthenticator } from "@petrel/shared/security/producers/authenticate-producer";
import { authorize, producerOf } from "@petrel/shared/security/producers/authorize-producer";
import { producerSecurity } from "@petrel/shared/security/producers/producer-security";

export interface NodeRoutesDeps {
  readonly authenticator: ProducerAuthenticator;
  readonly audit: AuditLog;
  readonly scripts: ScriptRunner;
  readonly partitions: readonly PartitionKeys[];
}

const paramsSchema = Type.Object({ node: Type.String({ pattern: "^[A-Za-z0-9._:@~+=-]{1,200}$" }) });

const nodeSchema = Type.Object(
  {
    id: Type.String({ description: "Name and boot epoch: a restarted node has another one." }),
    name: Type.String(),
    version: Type.Optional(Type.String({ description: "Absent if its release does not report it." })),
    connections: Type.Optional(Type.Integer({ description: "As of its last report." })),
    draining: Type.Optional(
      Type.Boolean({ description: "It accepts no connections, and its clients are asked to move." }),
    ),
    leaseEndsAt: Type.Optional(
      Type.String({ format: "date-time", description: "When it counts as gone unless it reports again." }),
    ),
    asked: Type.Boolean({ description: "An operator has asked it to drain." }),
  },
  { title: "PushNode" },
);

export function addNodeRoutes(app: HttpApp, deps: NodeRoutesDeps): void {
  const { authenticator, audit, scripts } = deps;
  const onRequest = authorize(authenticator, "admin");
  const tags = ["nodes"];
  const security = producerSecurity;
  const readNodes = (): Promise<ListedNode[]> => {
    const [first] = deps.partitions;
    if (first === undefined) throw new Error("no partitions");
    return awaitAnswer(listNodes(scripts, first));
  };

  app.get(
    "/v1/nodes",
    {
      onRequest,
      schema: {
        tags,
        summary: "List the live push nodes (scope: admin)",
        security,
        querystring: noQuerySchema,
        response: { 200: Type.Object({ items: Type.Array(nodeSchema) }), ...producerErrors },
      },
    },
    async () => ({ items: (await readNodes()).map(describeNode) }),
  );

  const drain = (isOn: boolean) => async (node: string, force: boolean, by: string) => {
    const nodes = await readNodes();
    const found = nodes.find(({ id }) => id === node);
    if (found === undefined)
      throw new PetrelError("PETREL_NOT_FOUND", "There is no live push node with this id.");
    if (found.report === undefined) {
      throw new PetrelError(
        "PETREL_CONFLICT",
        "This node runs a release that cannot drain: stop it instead.",
      );
    }
    const takesClients = nodes.some(
      ({ id, report, isAsked }) => id !== node && !isAsked && report?.draining !== true,
    );
    if (isOn && !takesClients && !force) {
      throw new PetrelError("PETREL_CONFLICT", "It is the last node that accepts connections.");
    }
    await awaitAnswer(askToDrain(scripts, node, isOn));
    await audit.record({ actor: `key:${by}`, action: isOn ? "node.drain" : "node.undrain", target: node });
    return describeNode({ ...found, isAsked: isOn });
  };

  app.post(
    "/v1/nodes/:node/drain",
    {
      onRequest,
      schema: {
        tags,
        summary: "Ask a push node to drain (scope: admin)",
        description:
          "Within seconds the node refuses new connections and asks its clients to move, until it is stopped or the " +
          "drain is undone. 409: it is the last node that accepts connections (`force` drains it anyway), or it runs a " +
          "release that cannot drain.",
        security,
        params: paramsSchema,
        querystring: noQuerySchema,
        body: Type.Union([
          Type.Object({ force: Type.Optional(Type.Boolean()) }, { additionalProperties: false }),
          Type.Null(),
        ]),
        response: { 202: nodeSchema, ...producerErrors, ...notFoundError, ...conflictError },
      },
    },
    async (request, reply) => {
      const { params, body } = request;
      const { force = false } = body ?? {};
      return reply.code(202).send(await drain(true)(params.node, force, producerOf(request).keyId));
    },
  );

  app.delete(
    "/v1/nodes/:node/drain",
    {
      onRequest,
      schema: {
        tags,
        summary: "Let a push node accept connections again (scope: admin)",
        description: "Clients that were already asked to move still do.",
        security,
        params: paramsSchema,
        querystring: noQuerySchema,
        response: { 202: nodeSchema, ...producerErrors, ...notFoundError, ...conflictError },
      },
    },
    async (request, reply) =>
      reply.code(202).send(await drain(false)(request.params.node, false, producerOf(request).keyId)),
  );
}

function describeNode({ id, report, isAsked }: ListedNode) {
  return {
    id,
    name: nameOf(id),
    ...(report === undefined
      ? {}
      : {
          version: report.version,
          connections: report.connections,
          draining: report.draining,
          leaseEndsAt: formatTime(report.leaseEndsAtMs),
        }),
    asked: isAsked,
  };
}

/** Without the boot epoch. */
function nameOf(id: string): string {
  const dot = id.lastIndexOf(".");
  return dot === -1 ? id : id.slice(0, dot);
}
