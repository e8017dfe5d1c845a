// `petrel signing-keys list|rotate`.
// Guarantees: only --immediately invalidates tokens.
import type { ExitCode } from "../cli-error.js";
import { addressOptions } from "../cluster-address.js";
import { type Call, runAction } from "../run-action.js";
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

type KeysCall = Call<typeof signingKeysOptions>;

export const runSigningKeys = (args: readonly string[], terminal: Terminal): Promise<ExitCode> =>
  runAction(
    {
      name: "signing-keys",
      service: "auth",
      options: signingKeysOptions,
      actions: {
        list: { words: [], run: listKeys },
        rotate: { words: [], options: ["immediately"], run: rotateKeys },
      },
    },
    args,
    terminal,
  );

async function listKeys(call: KeysCall): Promise<ExitCode> {
  const answer = await call.ask("GET", "/v1/signing-keys");
  for (const key of (answer["items"] ?? []) as SigningKey[]) printKey(key, call);
  return 0;
}

async function rotateKeys(call: KeysCall): Promise<ExitCode> {
  const { immediately = false } = call.values;
  const next = await call.ask("POST", "/v1/signing-keys/rotate", JSON.stringify({ immediately }));
  printKey(next as unknown as SigningKey, call);
  return 0;
}

function printKey(key: SigningKey, { values, terminal }: KeysCall): void {
  terminal.print(values.json === true ? JSON.stringify(key) : describeKey(key));
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
