// Gets an access token for a user from auth.
// Guarantees: gives the token or throws a CliError.
import { callService } from "./call-service.js";
import { CliError } from "./cli-error.js";
import type { ClusterAddress } from "./cluster-address.js";
import type { TopicGrant } from "./read-topics.js";

export interface IssuedToken {
  readonly accessToken: string;
  readonly [field: string]: unknown;
}

export async function fetchToken(
  { auth, key }: Pick<ClusterAddress, "auth" | "key">,
  request: {
    readonly userId: string;
    readonly ttlSeconds?: number;
    readonly topics?: readonly TopicGrant[];
  },
  { interrupted, sign }: { readonly interrupted: AbortSignal; readonly sign: boolean },
): Promise<IssuedToken> {
  const answer = await callService({
    service: "auth",
    baseUrl: auth,
    key,
    sign,
    method: "POST",
    path: "/v1/tokens",
    body: JSON.stringify(request),
    interrupted,
  });
  const { accessToken } = answer;
  if (typeof accessToken !== "string") throw new CliError("auth answered without an accessToken");
  return { ...answer, accessToken };
}
