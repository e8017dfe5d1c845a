// main -> here -> check-push, subscriptions, control-routes: one port for pushes and for control.
// Guarantees: a push is answered by its checks or by a script; only what is answered with 201 is shown.
import { formatTime } from "@petrel/shared/kernel/http/answer-time";
import { buildHttpApp, type HttpApp } from "@petrel/shared/kernel/http/http-app";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import { Type } from "@petrel/shared/kernel/schemas/json-schema";
import { refuseForeignHosts } from "../simulator-control/refuse-foreign-hosts.js";
import { checkPush } from "./check-push.js";
import { addControlRoutes } from "./control-routes.js";
import { PUSH_PATH, show, type Subscriptions, takeAnswer } from "./subscriptions.js";

export interface PushAppDeps {
  readonly version: string;
  readonly logger: Logger;
  /** The origin of the endpoints. */
  readonly origin: string;
  readonly subscriptions: Subscriptions;
  readonly nowMs: () => number;
}

const BODY_LIMIT_BYTES = 64 * 1024;
const words: Readonly<Record<number, string>> = {
  404: "no such subscription",
  410: "the subscription is over",
};

/** Builds the application without listening; call `listen()` on it. */
export async function buildPushApp(deps: PushAppDeps): Promise<HttpApp> {
  const { version, logger, origin, subscriptions, nowMs } = deps;
  const app = await buildHttpApp({
    service: "web-push-simulator",
    version,
    logger,
    bodyLimitBytes: BODY_LIMIT_BYTES,
    readiness: () => ({ ready: true, checks: {} }),
  });
  refuseForeignHosts(app);
  addControlRoutes(app, deps);
  await app.register((pushes, _options, done) => {
    pushes.removeAllContentTypeParsers();
    pushes.addContentTypeParser("*", { parseAs: "buffer" }, (_request, body, parsed) => parsed(null, body));
    pushes.post(
      `${PUSH_PATH}:token`,
      { schema: { params: Type.Object({ token: Type.String() }) } },
      (request, reply) => {
        const { token } = request.params as { readonly token: string };
        const subscription = subscriptions.findByToken(token);
        if (subscription === undefined) return reply.code(404).send({ reason: words[404] });
        const body = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
        const checked = checkPush({ headers: request.headers, body, subscription, origin, nowMs: nowMs() });
        if (!checked.ok) return reply.code(checked.status).send({ reason: checked.reason });
        const answer = takeAnswer(subscription);
        if (answer !== undefined && (answer.status < 200 || answer.status > 299)) {
          if (answer.retryAfter !== undefined) void reply.header("retry-after", String(answer.retryAfter));
          return reply
            .code(answer.status)
            .send({ reason: words[answer.status] ?? "as it was told to answer" });
        }
        const { ttl, urgency, topic, text } = checked;
        show(subscription, { at: formatTime(nowMs()), ttl, urgency, topic, payload: readPayload(text) });
        return reply
          .code(answer?.status ?? 201)
          .header("location", `${origin}/messages/${token}`)
          .send();
      },
    );
    done();
  });
  return app;
}

function readPayload(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
