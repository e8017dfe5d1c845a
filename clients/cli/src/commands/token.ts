// `petrel token USER`.
// Guarantees: standard output has the token and nothing else, for scripts.
import type { ExitCode } from "../cli-error.js";
import { addressOptions, findCluster } from "../cluster-address.js";
import { fetchToken } from "../fetch-token.js";
import { readArguments, wholeNumber } from "../read-arguments.js";
import { readGrants } from "../read-topics.js";
import type { Terminal } from "../terminal.js";

export const tokenOptions = {
  ...addressOptions,
  ttl: { type: "string" },
  topics: { type: "string" },
  json: { type: "boolean" },
} as const;

export async function runToken(args: readonly string[], terminal: Terminal): Promise<ExitCode> {
  const {
    values,
    words: [userId],
  } = readArguments(args, tokenOptions, ["USER"]);
  const ttlSeconds = wholeNumber("--ttl", values.ttl, 1);
  const cluster = findCluster(values, ["auth", "key"], terminal);
  const topics = readGrants(values.topics);
  const request = {
    userId,
    ...(ttlSeconds === undefined ? {} : { ttlSeconds }),
    ...(topics === undefined ? {} : { topics }),
  };
  const token = await fetchToken(cluster, request, {
    interrupted: terminal.interrupted,
    sign: values.sign === true,
  });
  terminal.print(values.json === true ? JSON.stringify(token) : token.accessToken);
  return 0;
}
