// The WeChat simulator: the paths of api.weixin.qq.com that it knows.
// Guarantees: always HTTP 200 with a code; a body is read regardless of its declared type, as WeChat does.
import { setTimeout as pause } from "node:timers/promises";
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import type { Simulation } from "../state/simulation.js";
import { answerAddresses } from "./address-interface.js";
import { answerSend } from "./send-interfaces.js";
import { answerLegacyToken, answerStableToken } from "./token-interfaces.js";
import { wechatError } from "./wechat-error.js";

interface Query {
  readonly Querystring: Readonly<Record<string, unknown>>;
}

export async function addWechatRoutes(app: HttpApp, simulation: Simulation): Promise<void> {
  await app.register((scope, _options, done) => {
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser("*", { parseAs: "buffer" }, (_request, body, parsed) => parsed(null, body));
    const { behaviour, answers } = simulation;

    /** Read and counted first, then late or never: as a far side that is slow. */
    const reply = async <T extends object>(answer: T, latencyMs: number): Promise<T> => {
      const code = "errcode" in answer && typeof answer.errcode === "number" ? answer.errcode : 0;
      answers.set(String(code), (answers.get(String(code)) ?? 0) + 1);
      if (latencyMs > 0) await pause(latencyMs);
      // (A stop ends it.)
      if (behaviour.blackhole) await new Promise(() => undefined);
      return answer;
    };
    const textOf = (body: unknown): string => (Buffer.isBuffer(body) ? body.toString() : "");

    scope.all<Query>("/cgi-bin/stable_token", (request) =>
      reply(
        request.method === "POST" ? answerStableToken(simulation, textOf(request.body)) : wechatError(43002),
        behaviour.tokenLatencyMs,
      ),
    );
    scope.all<Query>("/cgi-bin/token", (request) =>
      reply(
        request.method === "GET" ? answerLegacyToken(simulation, request.query) : wechatError(43001),
        behaviour.tokenLatencyMs,
      ),
    );
    scope.all<Query>("/cgi-bin/get_api_domain_ip", (request) =>
      reply(
        request.method === "GET"
          ? answerAddresses(simulation, request.query["access_token"])
          : wechatError(43001),
        behaviour.latencyMs,
      ),
    );
    for (const [path, kind] of [
      ["/cgi-bin/message/template/send", "service-account"],
      ["/cgi-bin/message/subscribe/send", "mini-program"],
    ] as const) {
      scope.all<Query>(path, (request) => {
        if (request.method !== "POST") return reply(wechatError(43002), behaviour.latencyMs);
        const { access_token: token } = request.query;
        return reply(answerSend(simulation, kind, token, textOf(request.body)), behaviour.latencyMs);
      });
    }
    done();
  });
}
