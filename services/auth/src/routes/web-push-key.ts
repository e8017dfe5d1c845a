// GET /v1/web-push-key: the key with which a page subscribes to its browser's push service.
// Guarantees: the public half only; open to everyone.
import type { KeyObject } from "node:crypto";
import { PetrelError } from "@petrel/shared/kernel/errors";
import { errorSchema } from "@petrel/shared/kernel/http/error-schema";
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import { noQuerySchema } from "@petrel/shared/kernel/http/no-query-schema";
import { Type } from "@petrel/shared/kernel/schemas/json-schema";
import { encodeVapidKey } from "@petrel/shared/security/web-push/vapid-key";

const MAX_AGE_SECONDS = 300;

/** @param vapidKey absent without Web Push */
export function addWebPushKey(
  app: HttpApp,
  { vapidKey }: { readonly vapidKey: KeyObject | undefined },
): void {
  const key = vapidKey === undefined ? undefined : encodeVapidKey(vapidKey);
  app.get(
    "/v1/web-push-key",
    {
      schema: {
        tags: ["devices"],
        summary: "Get the key for a page's push subscription (RFC 8292)",
        description:
          "The `applicationServerKey` of `PushManager.subscribe`. 404 where Web Push is not configured.",
        security: [],
        querystring: noQuerySchema,
        response: {
          200: Type.Object(
            { key: Type.String({ description: "65 bytes as base64url." }) },
            { additionalProperties: false, title: "WebPushKey" },
          ),
          404: errorSchema,
        },
      },
    },
    (_request, reply) => {
      if (key === undefined) {
        throw new PetrelError("PETREL_NOT_FOUND", "Web Push is not configured: VAPID_KEY_FILE is not set.");
      }
      void reply.header("cache-control", `public, max-age=${MAX_AGE_SECONDS}`);
      return { key };
    },
  );
}
