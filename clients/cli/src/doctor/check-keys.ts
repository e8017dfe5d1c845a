// doctor/doctor -> here: the keys that sign tokens and those of producers, and their age.
// Guarantees: reads only.
import { type Ask, readItems } from "../ask-service.js";
import { CliError } from "../cli-error.js";
import { describeMs } from "../explain/describe-time.js";
import { failure, type Finding, mendOf, ok, skipped, warning } from "./finding.js";

interface SigningKey {
  readonly kid: string;
  readonly state: string;
  readonly createdAt: string;
}

interface ProducerKey {
  readonly id: string;
  readonly scopes: readonly string[];
  readonly createdAt: string;
  readonly rotatedAt?: string;
  readonly revokedAt?: string;
  readonly suspendedAt?: string;
}

const YEAR_MS = 365 * 86_400_000;
const NAMED = 5;

export async function checkKeys(ask: Ask, nowMs: number): Promise<Finding[]> {
  const both = [
    judged("signing keys", () => checkSigning(ask, nowMs)),
    judged("producer keys", () => checkProducers(ask, nowMs)),
  ];
  return (await Promise.all(both)).flat();
}

async function judged(check: string, look: () => Promise<Finding>): Promise<Finding[]> {
  try {
    return [await look()];
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    // 404, 501: another issuer signs.
    return [
      /answered (404|501)/.test(error.message)
        ? skipped(check, error.message)
        : failure(check, error.message, mendOf(error.message, "Is auth running?")),
    ];
  }
}

async function checkSigning(ask: Ask, nowMs: number): Promise<Finding> {
  const check = "signing keys";
  // In one answer, because they are few.
  const keys = ((await ask("GET", "/v1/signing-keys"))["items"] ?? []) as readonly SigningKey[];
  const active = keys.find(({ state }) => state === "active");
  if (active === undefined)
    return warning(
      check,
      "no key signs tokens",
      "Right only where another issuer does, or a shared secret (HS256).",
    );
  const ageMs = nowMs - Date.parse(active.createdAt);
  const says = `${active.kid} signs tokens, and is ${describeMs(ageMs)} old`;
  return ageMs > YEAR_MS ? warning(check, says, "petrel signing-keys rotate") : ok(check, says);
}

async function checkProducers(ask: Ask, nowMs: number): Promise<Finding> {
  const check = "producer keys";
  const keys: ProducerKey[] = [];
  for await (const key of readItems<ProducerKey>(ask, "/v1/keys"))
    if (key.revokedAt === undefined) keys.push(key);
  const old = keys.filter(({ createdAt, rotatedAt }) => nowMs - Date.parse(rotatedAt ?? createdAt) > YEAR_MS);
  const admins = keys.filter(({ scopes }) => scopes.includes("admin")).length;
  const suspended = keys.filter(({ suspendedAt }) => suspendedAt !== undefined).map(({ id }) => id);
  const says =
    `${keys.length} keys, ${admins} of them with the scope admin` +
    (suspended.length === 0 ? "" : `; suspended: ${suspended.slice(0, NAMED).join(", ")}`);
  if (suspended.length > 0) return warning(check, says, "petrel keys resume ID, once its system is fixed.");
  if (old.length === 0) return ok(check, says);
  const names = old.slice(0, NAMED).map(({ id }) => id);
  const more = old.length > NAMED ? `, and ${old.length - NAMED} more` : "";
  return warning(
    check,
    `${says}; secrets older than a year: ${names.join(", ")}${more}`,
    "petrel keys rotate ID --overlap-seconds 86400",
  );
}
