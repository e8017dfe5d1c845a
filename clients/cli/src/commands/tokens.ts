// `petrel tokens revoke`.
// Guarantees: exactly one option names the tokens to revoke; a token is never printed.
import { text } from "node:stream/consumers";
import { usageError, type ExitCode } from "../cli-error.js";
import { addressOptions } from "../cluster-address.js";
import { wholeNumber, type OptionValues } from "../read-arguments.js";
import { type Call, runAction } from "../run-action.js";
import type { Terminal } from "../terminal.js";

export const tokensOptions = {
  ...addressOptions,
  user: { type: "string" },
  jti: { type: "string" },
  exp: { type: "string" },
  token: { type: "string" },
  json: { type: "boolean" },
} as const;

export const runTokens = (args: readonly string[], terminal: Terminal): Promise<ExitCode> =>
  runAction(
    {
      name: "tokens",
      service: "auth",
      options: tokensOptions,
      actions: { revoke: { words: [], run: revokeTokens } },
    },
    args,
    terminal,
  );

async function revokeTokens({ values, terminal, ask }: Call<typeof tokensOptions>): Promise<ExitCode> {
  const { body, done } = await readRevocation(values, terminal);
  await ask("POST", "/v1/tokens/revoke", JSON.stringify(body));
  if (values.json !== true) terminal.print(done);
  return 0;
}

interface Revocation {
  readonly body: Readonly<Record<string, string | number>>;
  /** Printed when it is done. */
  readonly done: string;
}

async function readRevocation(
  values: OptionValues<typeof tokensOptions>,
  terminal: Terminal,
): Promise<Revocation> {
  const { user, jti, token } = values;
  if ([user, jti, token].filter((one) => one !== undefined).length !== 1) {
    throw usageError("which tokens? Give one of --user, --jti and --token.");
  }
  const exp = wholeNumber("--exp", values.exp, 0);
  if (exp !== undefined && jti === undefined) throw usageError("--exp goes with --jti");
  if (user !== undefined) return { body: { userId: user }, done: `all tokens of ${user} revoked` };
  if (jti !== undefined) {
    return { body: { jti, ...(exp === undefined ? {} : { exp }) }, done: `token ${jti} revoked` };
  }
  // `-` reads it from standard input: arguments show up in the shell's history and in the process list.
  const given = token === "-" ? (await text(terminal.stdin)).trim() : (token ?? "");
  if (given === "") throw usageError("--token is empty");
  return { body: { token: given }, done: "token revoked" };
}
