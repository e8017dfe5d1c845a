// The parts of auth's contract that are not built yet.
// Guarantees: each answers 501 before its body is read; nothing is accepted and ignored.
import type { HttpApp } from "@petrel/shared/kernel/http-app";
import { PetrelError } from "@petrel/shared/kernel/errors";
import { errorSchema } from "@petrel/shared/kernel/error-schema";

const notBuilt = [
  { method: "POST", url: "/v1/tokens/refresh" },
  { method: "POST", url: "/v1/tokens/revoke" },
  { method: "POST", url: "/v1/tickets" },
  { method: "GET", url: "/v1/audit" },
] as const;

export function addRefuseNotBuilt(app: HttpApp): void {
  for (const { method, url } of notBuilt) {
    app.route({
      method,
      url,
      schema: { summary: "Not built yet", response: { 501: errorSchema } },
      onRequest: async () => {
        throw new PetrelError("PETREL_NOT_IMPLEMENTED", `${method} ${url} is not built yet.`);
      },
      handler: () => undefined,
    });
  }
}
