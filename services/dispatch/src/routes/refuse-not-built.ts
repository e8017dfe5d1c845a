// The parts of dispatch's contract that are not built yet.
// Guarantees: an administrator gets 501 and nothing is changed; nobody else gets further than before.
import { PetrelError } from "@petrel/shared/kernel/errors";
import type { HttpApp } from "@petrel/shared/kernel/http-app";
import type { ProducerAuthenticator } from "@petrel/shared/security/authenticate-producer";
import { authorize } from "@petrel/shared/security/authorize-producer";
import { producerErrors, errorSchema } from "@petrel/shared/kernel/error-schema";

const notBuilt = [
  { method: "GET", url: "/v1/invalidations", summary: "List devices that a provider called invalid" },
] as const;

export function addRefuseNotBuilt(app: HttpApp, authenticator: ProducerAuthenticator): void {
  for (const { method, url, summary } of notBuilt) {
    app.route({
      method,
      url,
      onRequest: authorize(authenticator, "admin"),
      schema: {
        summary: `${summary} (scope: admin; not built yet)`,
        security: [{ bearer: [] }],
        response: { 501: errorSchema, ...producerErrors },
      },
      handler: () => {
        throw new PetrelError("PETREL_NOT_IMPLEMENTED", `${method} ${url} is not built yet.`);
      },
    });
  }
}
