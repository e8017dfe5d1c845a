// `petrel web-push-key`.
// Guarantees: asks no cluster; standard output has the private key as PEM and nothing else, for a file.
import { generateKeyPairSync } from "node:crypto";
import type { ExitCode } from "../cli-error.js";
import { readArguments } from "../read-arguments.js";
import type { Terminal } from "../terminal.js";

export async function runWebPushKey(args: readonly string[], terminal: Terminal): Promise<ExitCode> {
  readArguments(args, {}, []);
  const { privateKey } = generateKeyPairSync("ec", {
    namedCurve: "P-256",
    privateKeyEncoding: { type: "pkcs8", format: "pem" },
    publicKeyEncoding: { type: "spki", format: "pem" },
  });
  for (const line of privateKey.trim().split("\n")) terminal.print(line);
  return 0;
}
