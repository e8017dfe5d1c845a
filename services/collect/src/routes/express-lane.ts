// kernel/http/plain-requests/plain-connections, kernel/http/bodies/whole-requests -> here -> accept/accept-requests:
// `POST /v1/messages` and `/v1/messages/batch`, bypassing the framework, and the plainest of them Node's HTTP, too.
// Guarantees: takes only what the framework's path would accept: a plain head, a producer that was authenticated a
// moment ago and that no limit refuses, a valid body. Everything else, and so nearly every refusal, is left to the
// routes. What it takes gets the same answer as from them.
// Why: a quarter of a message's cost in collect was the framework's request, reply, hooks and body stream, and of what
// was left a fifth Node's parser and response. The checks are the routes' own code: their validators and serializers,
// accept-requests, describeFailure; but the plainest bodies are read as they are (contract/read-plain-messages).
import type { IncomingMessage } from "node:http";
import type { FastifySchemaCompiler } from "fastify";
import { readJson, textOf } from "@petrel/shared/kernel/http/bodies/read-json-body";
import type { PetrelError } from "@petrel/shared/kernel/errors";
import { checkHead } from "@petrel/shared/kernel/http/check-head";
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import { describeFailure } from "@petrel/shared/kernel/http/requests/describe-failure";
import { answerJson, takeWholeRequests } from "@petrel/shared/kernel/http/bodies/whole-requests";
import {
  type DirectAnswer,
  type RequestHead,
  takePlainRequests,
} from "@petrel/shared/kernel/http/plain-requests/plain-connections";
import type { RouteRequests } from "@petrel/shared/kernel/http/requests/request-metrics";
import type { RequestWatch } from "@petrel/shared/kernel/http/requests/watch-requests";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import { createRareLog, type RareLog } from "@petrel/shared/kernel/logging/rare-log";
import type { Producer } from "@petrel/shared/security/producers/authenticate-producer";
import type { RememberedProducers } from "@petrel/shared/security/producers/authorize-producer";
import {
  acceptBatch,
  acceptMessage,
  type AcceptMessageDeps,
  checkAllowed,
  checkBatch,
} from "../accept/accept-requests.js";
import type { CheckedMessage } from "../contract/check-message.js";
import { requireRight } from "../accept/require-right.js";
import { acceptedSchema, batchAcceptedSchema } from "../contract/answer-schema.js";
import { batchSchema, type MessageBody, messageSchema } from "../contract/message-schema.js";
import { readPlainBatch, readPlainMessage } from "../contract/read-plain-messages.js";

export interface ExpressLaneDeps extends AcceptMessageDeps {
  /** Shared with the routes, which authenticate everybody who is not in it, and add them. */
  readonly senders: Pick<RememberedProducers, "find">;
  readonly logger: Pick<Logger, "error" | "warn">;
  readonly watch: Pick<RequestWatch, "route" | "idOf" | "answered">;
}

const MESSAGES = "/v1/messages";
const BATCH = "/v1/messages/batch";

/** Call it after the routes are added. */
export function addExpressLane(app: HttpApp, deps: ExpressLaneDeps): void {
  const lane = new ExpressLane(app, deps);
  takeWholeRequests<Producer>(app, {
    wants: (request) => (isPlain(request) ? deps.senders.find(request) : undefined),
    take: ({ request, body, response, wanted }) =>
      lane.take(request, body, wanted, {
        header: (name, value) => void response.setHeader(name, value),
        end: (answer) => answerJson(response, answer),
      }),
  });
  takePlainRequests<Producer>(app.server, {
    wants: (request) => (isForLane(request) ? deps.senders.find(request) : undefined),
    take: (request, body, producer, answer) => lane.take(request, body, producer, answer),
  });
}

/** One of the two requests. */
function isForLane({ method, url, headers }: RequestHead): boolean {
  return method === "POST" && (url === MESSAGES || url === BATCH) && isJson(headers["content-type"]);
}

/** With nothing unusual in its head. */
function isPlain(request: IncomingMessage): boolean {
  const { headers, httpVersionMinor } = request;
  return (
    isForLane(request) &&
    httpVersionMinor === 1 &&
    headers["transfer-encoding"] === undefined &&
    headers["content-encoding"] === undefined &&
    headers.expect === undefined &&
    checkHead(request) === undefined
  );
}

/** In the spelling of nearly every client. */
function isJson(type: string | undefined): boolean {
  return type === "application/json" || type === "application/json; charset=utf-8";
}

class ExpressLane {
  readonly #app: HttpApp;
  readonly #deps: ExpressLaneDeps;
  readonly #refusals: RareLog;
  readonly #messages: RouteRequests;
  readonly #batches: RouteRequests;
  #compiled: Compiled | undefined;

  constructor(app: HttpApp, deps: ExpressLaneDeps) {
    this.#app = app;
    this.#deps = deps;
    this.#refusals = createRareLog(deps.logger);
    this.#messages = deps.watch.route(MESSAGES, "POST");
    this.#batches = deps.watch.route(BATCH, "POST");
  }

  /** @returns false, before anything is counted or stored, to leave the request to the routes */
  take(request: RequestHead, body: Buffer, producer: Producer, answer: DirectAnswer): boolean {
    const { limits, watch } = this.#deps;
    if (body.length === 0 || limits.refuses(producer)) return false;
    const { headers } = request;
    this.#compiled ??= compile(this.#app);
    const { writeAnswer, writeBatch } = this.#compiled;
    const startedAtMs = performance.now();
    let route = this.#messages;
    let accepted: Promise<string>;
    try {
      if (request.url === MESSAGES) {
        const checked = readMessage(body, producer, this.#compiled);
        if (checked === undefined) return false;
        accepted = acceptMessage(this.#deps, { producer, checked, headers, answer }).then(writeAnswer);
      } else {
        route = this.#batches;
        const checked = readBatch(body, producer, this.#compiled);
        if (checked === undefined) return false;
        accepted = acceptBatch(this.#deps, { producer, checked, headers, answer }).then((results) =>
          writeBatch({ results }),
        );
      }
    } catch {
      // A refusal: the routes find the same problem and answer it.
      return false;
    }
    const requestId = watch.idOf(request);
    const end = (status: number): void =>
      watch.answered(request, route, { requestId, status, ms: performance.now() - startedAtMs });
    accepted.then(
      (json) => {
        answer.end({ status: 202, json, requestId });
        end(202);
      },
      (error: unknown) => end(this.#fail(error, requestId, request, answer)),
    );
    return true;
  }

  /** @returns the status of the answer */
  #fail(
    error: unknown,
    requestId: string,
    { method = "", url = "" }: RequestHead,
    answer: DirectAnswer,
  ): number {
    const { logger } = this.#deps;
    const { status, headers, body } = describeFailure(
      error,
      { id: requestId, method, url },
      { logger, refusals: this.#refusals },
    );
    for (const [name, value] of Object.entries(headers)) answer.header(name, value);
    answer.end({ status, json: body, requestId, type: "application/json" });
    return status;
  }
}

/**
 * @returns undefined if the body does not fit the schema
 * @throws PetrelError if the message may not be sent
 */
function readMessage(
  body: Buffer,
  producer: Producer,
  { messageFits }: Compiled,
): CheckedMessage | undefined {
  const text = textOf(body);
  const plain = text === undefined ? undefined : readPlainMessage(text);
  if (plain !== undefined) {
    requireRight(producer, plain);
    return plain;
  }
  const value = readJson(body, text);
  return messageFits(value) === true ? checkAllowed(producer, value as MessageBody) : undefined;
}

/** The same for a batch, whose bad entries fail alone. */
function readBatch(
  body: Buffer,
  producer: Producer,
  { messageFits, batchFits }: Compiled,
): (CheckedMessage | PetrelError)[] | undefined {
  const text = textOf(body);
  const plain = text === undefined ? undefined : readPlainBatch(text);
  if (plain !== undefined) {
    for (const message of plain) requireRight(producer, message);
    return plain;
  }
  const value = readJson(body, text);
  if (batchFits(value) !== true) return undefined;
  return checkBatch(producer, (value as { readonly messages: readonly unknown[] }).messages, messageFits);
}

type Validate = ((data: unknown) => unknown) & { readonly errors?: unknown };

interface Compiled {
  readonly messageFits: Validate;
  readonly batchFits: Validate;
  readonly writeAnswer: (answer: unknown) => string;
  readonly writeBatch: (answer: unknown) => string;
}

/** Uses the application's own compilers, which exist once it is ready. */
function compile({ validatorCompiler, serializerCompiler }: HttpApp): Compiled {
  if (validatorCompiler === undefined || serializerCompiler === undefined)
    throw new Error("the application is not ready");
  const validate = (schema: unknown, url: string): Validate =>
    (validatorCompiler as FastifySchemaCompiler<unknown>)({ schema, url, method: "POST", httpPart: "body" });
  const write = (schema: unknown, url: string): ((answer: unknown) => string) =>
    serializerCompiler({ schema, url, method: "POST", httpStatus: "202" });
  return {
    messageFits: validate(messageSchema, MESSAGES),
    batchFits: validate(batchSchema, BATCH),
    writeAnswer: write(acceptedSchema, MESSAGES),
    writeBatch: write(batchAcceptedSchema, BATCH),
  };
}
