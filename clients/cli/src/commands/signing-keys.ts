// `petrel signing-keys list|rotate`.
// Guarantees: tokens are made worthless only where that is said in full.
import { callService } from "../call-service.js";
import { usageError, type ExitCode } from "../cli-error.js";
import { addressOptions, findCluster } from "../cluster-address.js";
import { readArguments } from "../read-arguments.js";
import type { Terminal } from "../terminal.js";

export const signingKeysOptions = {
  ...addressOptions,
  immediately: { type: "boolean" },
  json: { type: "boolean" },
} as const;

interface SigningKey {
  readonly kid: string;
  readonly alg: string;
  readonly state: string;
  readonly createdAt: string;
  readonly activeFrom?: string;
  readonly retiredAt?: string;
  readonly publishedUntil?: string;
}

export async function runSigningKeys(args: readonly string[], terminal: Terminal): Promise<ExitCode> {
  const [name, ...rest] = args;
  if (name !== "list" && name !== "rotate") {
    throw usageError("what about signing keys? There are list, rotate.");
  }
  const { values } = readArguments(rest, signingKeysOptions, []);
  const { immediately = false, json, sign } = values;
  if (name === "list" && immediately) throw usageError("--immediately is not for signing-keys list");
  const { auth, adminKey } = findCluster(values, ["auth", "adminKey"], terminal);
  const common = {
    service: "auth",
    baseUrl: auth,
    key: adminKey,
    sign: sign === true,
    interrupted: terminal.interrupted,
  } as const;
  const answer =
    name === "list"
      ? await callService({ ...common, method: "GET", path: "/v1/signing-keys" })
      : await callService({
          ...common,
          method: "POST",
          path: "/v1/signing-keys/rotate",
          body: JSON.stringify({ immediately }),
        });
  const keys = name === "list" ? answer["items"] : [answer];
  for (const key of (keys ?? []) as SigningKey[]) {
    terminal.print(json === true ? JSON.stringify(key) : describeKey(key));
  }
  return 0;
}

function describeKey({
  kid,
  alg,
  state,
  createdAt,
  activeFrom,
  retiredAt,
  publishedUntil,
}: SigningKey): string {
  const facts = [
    `created ${createdAt}`,
    ...(activeFrom === undefined ? [] : [`signs from ${activeFrom}`]),
    ...(retiredAt === undefined ? [] : [`until ${retiredAt}`]),
    ...(publishedUntil === undefined ? [] : [`published until ${publishedUntil}`]),
  ];
  return `${kid} ${alg} ${state} ${facts.join(", ")}`;
}
