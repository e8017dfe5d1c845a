// `petrel tokens revoke`.
// Guarantees: whose or which token is named outright, and in just one way; a token itself is printed nowhere.
import { text } from "node:stream/consumers";
import { callService } from "../call-service.js";
import { usageError, type ExitCode } from "../cli-error.js";
import { addressOptions, findCluster } from "../cluster-address.js";
import { readArguments, wholeNumber, type OptionValues } from "../read-arguments.js";
import type { Terminal } from "../terminal.js";

export const tokensOptions = {
  ...addressOptions,
  user: { type: "string" },
  jti: { type: "string" },
  exp: { type: "string" },
  token: { type: "string" },
  json: { type: "boolean" },
} as const;

export async function runTokens(args: readonly string[], terminal: Terminal): Promise<ExitCode> {
  const [name, ...rest] = args;
  if (name !== "revoke") throw usageError("what about tokens? There is revoke.");
  const { values } = readArguments(rest, tokensOptions, []);
  const { body, done } = await readRevocation(values, terminal);
  const { auth, adminKey } = findCluster(values, ["auth", "adminKey"], terminal);
  await callService({
    service: "auth",
    baseUrl: auth,
    key: adminKey,
    sign: values.sign === true,
    method: "POST",
    path: "/v1/tokens/revoke",
    body: JSON.stringify(body),
    interrupted: terminal.interrupted,
  });
  if (values.json !== true) terminal.print(done);
  return 0;
}

interface Revocation {
  readonly body: Readonly<Record<string, string | number>>;
  /** What is said when it is done. */
  readonly done: string;
}

async function readRevocation(
  values: OptionValues<typeof tokensOptions>,
  terminal: Terminal,
): Promise<Revocation> {
  const { user, jti, token } = values;
  if ([user, jti, token].filter((one) => one !== undefined).length !== 1) {
    throw usageError("say which: either --user, or --jti, or --token");
  }
  const exp = wholeNumber("--exp", values.exp, 0);
  if (exp !== undefined && jti === undefined) throw usageError("--exp goes with --jti");
  if (user !== undefined) return { body: { userId: user }, done: `all tokens of ${user} revoked` };
  if (jti !== undefined) {
    return { body: { jti, ...(exp === undefined ? {} : { exp }) }, done: `token ${jti} revoked` };
  }
  // Arguments stand in the shell's history and in the list of processes.
  const given = token === "-" ? (await text(terminal.stdin)).trim() : (token ?? "");
  if (given === "") throw usageError("--token is empty");
  return { body: { token: given }, done: "token revoked" };
}
