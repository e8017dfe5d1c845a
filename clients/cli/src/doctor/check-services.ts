// doctor/doctor -> here: whether each service answers, is ready, and belongs to the same release; and whether tokens
// can be checked.
// Guarantees: reads only; each check ends within its time.
import { describeError } from "../cli-error.js";
import { failure, type Finding, ok, skipped, warning } from "./finding.js";

export interface ServiceAddress {
  /** Such as "collect", or "node wss://…". */
  readonly name: string;
  /** http:// or https://, without a path. */
  readonly url: string;
}

interface Seen {
  readonly findings: readonly Finding[];
  readonly version?: string;
}

const PATIENCE_MS = 5_000;

export async function checkServices(
  services: readonly ServiceAddress[],
  interrupted: AbortSignal,
): Promise<Finding[]> {
  const seen = await Promise.all(services.map((service) => checkService(service, interrupted)));
  const versions = new Map<string, string[]>();
  for (const [i, { version }] of seen.entries()) {
    if (version === undefined) continue;
    versions.set(version, [...(versions.get(version) ?? []), services[i]?.name ?? ""]);
  }
  const mixed = [...versions].map(([version, names]) => `${names.join(", ")}: ${version}`).join("; ");
  return [
    ...seen.flatMap(({ findings }) => findings),
    ...(versions.size === 0
      ? []
      : [
          versions.size === 1
            ? ok("versions", `all are ${mixed}`)
            : warning(
                "versions",
                `they differ: ${mixed}`,
                "Is an upgrade under way, or was one left over? Order: dispatch, push-node, collect.",
              ),
        ]),
  ];
}

async function checkService({ name, url }: ServiceAddress, interrupted: AbortSignal): Promise<Seen> {
  let ready: { readonly status: number; readonly body: unknown };
  try {
    ready = await getJson(`${url}/health/ready`, interrupted);
  } catch (error) {
    const why = describeCause(error);
    return {
      findings: [
        failure(
          name,
          `${url} does not answer: ${why}`,
          "Is it running, is the port open, is the name right?",
        ),
      ],
    };
  }
  const version = await getJson(`${url}/version`, interrupted).then(
    ({ body }) => textAt(body, "version"),
    () => undefined,
  );
  return {
    ...(version === undefined ? {} : { version }),
    findings: [
      ready.status === 200
        ? ok(name, `${url} is ready`)
        : ready.status === 404
          ? skipped(
              name,
              `${url} answers, but does not show whether it is ready: ask on the cluster's own network`,
            )
          : judgeNotReady(name, url, ready),
    ],
  };
}

/** A drain is intended, and not a fault, if everything else is fine. */
export function judgeNotReady(
  name: string,
  url: string,
  { status, body }: { readonly status: number; readonly body: unknown },
): Finding {
  const checks = Object.entries(checksOf(body));
  const wrong = checks.filter(([, state]) => state !== "ok").map(([check]) => check);
  return wrong.length === 1 && wrong[0] === "draining"
    ? warning(
        name,
        `${url} takes no new connections: it drains`,
        "Is it to be stopped? petrel nodes shows whether it was asked to; petrel drain NODE --undo undoes that.",
      )
    : failure(
        name,
        `${url} is not ready: ${status} ${JSON.stringify(body)}`,
        "Its log says more; /health/ready names what it waits for.",
      );
}

function checksOf(body: unknown): object {
  const checks = typeof body === "object" && body !== null && "checks" in body ? body.checks : undefined;
  return typeof checks === "object" && checks !== null ? checks : {};
}

/** The keys with which nodes and others verify users' tokens. */
export async function checkJwks(auth: string, interrupted: AbortSignal): Promise<Finding> {
  const check = "jwks";
  try {
    const { status, body } = await getJson(`${auth}/.well-known/jwks.json`, interrupted);
    const keys = typeof body === "object" && body !== null && "keys" in body ? body.keys : undefined;
    if (status !== 200 || !Array.isArray(keys)) {
      return failure(
        check,
        `auth answered ${status} for its keys`,
        "Nodes cannot check new tokens: look at auth's log.",
      );
    }
    return keys.length > 0
      ? ok(check, `auth publishes ${keys.length} key${keys.length === 1 ? "" : "s"}`)
      : warning(
          check,
          "auth publishes no key",
          "Right only where tokens are signed by a shared secret (HS256), or by another issuer.",
        );
  } catch (error) {
    return failure(check, `auth's keys cannot be read: ${describeCause(error)}`, "Is auth running?");
  }
}

/**
 * What every process of a service tells alike need not be asked of one that is down.
 * @returns one of `urls` that answers; the first where none does
 */
export async function firstToAnswer(
  urls: readonly string[],
  interrupted: AbortSignal,
): Promise<string | undefined> {
  for (const url of urls.length > 1 ? urls : []) {
    const answers = await getText(`${url.replace(/\/$/, "")}/health/live`, interrupted).then(
      () => true,
      () => false,
    );
    if (answers) return url;
  }
  return urls[0];
}

export async function getText(
  url: string,
  interrupted: AbortSignal,
  patienceMs = PATIENCE_MS,
): Promise<{ readonly status: number; readonly text: string }> {
  // Not AbortSignal.any: it holds its sources weakly, so on Node 20 a timeout may be collected before it fires.
  const ending = new AbortController();
  const onInterrupted = (): void => ending.abort(interrupted.reason);
  const timer = setTimeout(() => ending.abort(new Error(`no answer within ${patienceMs} ms`)), patienceMs);
  interrupted.addEventListener("abort", onInterrupted, { once: true });
  if (interrupted.aborted) onInterrupted();
  try {
    const response = await fetch(url, { signal: ending.signal });
    return { status: response.status, text: await response.text() };
  } finally {
    clearTimeout(timer);
    interrupted.removeEventListener("abort", onInterrupted);
  }
}

async function getJson(
  url: string,
  interrupted: AbortSignal,
): Promise<{ readonly status: number; readonly body: unknown }> {
  const { status, text } = await getText(url, interrupted);
  try {
    return { status, body: JSON.parse(text) as unknown };
  } catch {
    return { status, body: text.slice(0, 200) };
  }
}

function textAt(body: unknown, name: string): string | undefined {
  const value =
    typeof body === "object" && body !== null ? (body as Record<string, unknown>)[name] : undefined;
  return typeof value === "string" ? value : undefined;
}

/** `fetch` hides the reason in the error's cause. */
export function describeCause(error: unknown): string {
  const cause = error instanceof Error ? error.cause : undefined;
  if (cause instanceof Error) return (cause as NodeJS.ErrnoException).code ?? cause.message;
  return describeError(error);
}
