// `petrel tokens revoke`.
// Guarantees: whose or which token is named outright, and just one of the two.
import { callService } from "../call-service.js";
import { usageError, type ExitCode } from "../cli-error.js";
import { addressOptions, findCluster } from "../cluster-address.js";
import { readArguments } from "../read-arguments.js";
import type { Terminal } from "../terminal.js";

export const tokensOptions = {
  ...addressOptions,
  user: { type: "string" },
  jti: { type: "string" },
  json: { type: "boolean" },
} as const;

export async function runTokens(args: readonly string[], terminal: Terminal): Promise<ExitCode> {
  const [name, ...rest] = args;
  if (name !== "revoke") throw usageError("what about tokens? There is revoke.");
  const { values } = readArguments(rest, tokensOptions, []);
  const { user, jti } = values;
  if ((user === undefined) === (jti === undefined)) {
    throw usageError("say which: either --user or --jti");
  }
  const { auth, adminKey } = findCluster(values, ["auth", "adminKey"], terminal);
  await callService({
    service: "auth",
    baseUrl: auth,
    key: adminKey,
    sign: values.sign === true,
    method: "POST",
    path: "/v1/tokens/revoke",
    body: JSON.stringify(user === undefined ? { jti } : { userId: user }),
    interrupted: terminal.interrupted,
  });
  if (values.json !== true) {
    terminal.print(user === undefined ? `token ${jti} revoked` : `all tokens of ${user} revoked`);
  }
  return 0;
}
