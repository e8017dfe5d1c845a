// doctor/doctor -> here: operators' settings that may have been forgotten: paused channels, drained nodes; and whether
// any node accepts clients.
// Guarantees: reads only.
import type { Ask } from "../ask-service.js";
import { CliError } from "../cli-error.js";
import { failure, type Finding, ok, skipped, warning } from "./finding.js";

interface Channel {
  readonly channel: string;
  readonly paused: { readonly since: string; readonly by: string } | null;
}

interface Node {
  readonly id: string;
  /** Absent: of a release that does not tell. */
  readonly version?: string;
  readonly draining?: boolean;
  readonly asked: boolean;
  readonly connections?: number;
}

export async function checkStanding(ask: Ask): Promise<Finding[]> {
  return (
    await Promise.all([
      judged("paused channels", ask, "/v1/channels", (answer) =>
        judgeChannels(answer as { items: readonly Channel[]; unconfirmed: readonly string[] }),
      ),
      judged("push nodes", ask, "/v1/nodes", (answer) =>
        judgeNodes((answer as { items: readonly Node[] }).items),
      ),
    ])
  ).flat();
}

async function judged(
  check: string,
  ask: Ask,
  path: string,
  judge: (answer: unknown) => Finding[],
): Promise<Finding[]> {
  try {
    return judge(await ask("GET", path));
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    return [skipped(check, error.message)];
  }
}

export function judgeChannels({
  items,
  unconfirmed,
}: {
  readonly items: readonly Channel[];
  readonly unconfirmed: readonly string[];
}): Finding[] {
  const check = "paused channels";
  const paused = items.flatMap(({ channel, paused: pause }) =>
    pause === null
      ? []
      : [
          warning(
            check,
            `${channel} is paused since ${pause.since}, by ${pause.by}`,
            `petrel channels resume ${channel}`,
          ),
        ],
  );
  return [
    ...(paused.length === 0 ? [ok(check, "none")] : paused),
    ...(unconfirmed.length === 0
      ? []
      : [
          failure(
            check,
            `not confirmed by ${unconfirmed.join(", ")}`,
            "It runs an older release, or has lost its link to Redis: it keeps sending.",
          ),
        ]),
  ];
}

export function judgeNodes(nodes: readonly Node[]): Finding[] {
  const check = "push nodes";
  const drained = nodes.filter(({ draining, asked }) => draining === true || asked);
  const takes = nodes.length - drained.length;
  if (takes === 0) {
    return [
      failure(
        check,
        nodes.length === 0 ? "none is live: nobody can connect" : "all are draining: nobody can connect",
        nodes.length === 0 ? "Start one." : "petrel drain NODE --undo, or start another one.",
      ),
    ];
  }
  return [...judgeDrained(nodes, drained), ...judgeVersions(nodes)];
}

/** Of all that are registered, also of those that nobody can name from here. */
function judgeVersions(nodes: readonly Node[]): Finding[] {
  const versions = [...new Set(nodes.map(({ version = "one that does not report it" }) => version))];
  if (versions.length === 1) return [];
  return [
    warning(
      "push nodes",
      `they are of several releases: ${versions.sort().join(", ")}`,
      "Is an upgrade under way, or was one left over? petrel nodes tells which.",
    ),
  ];
}

function judgeDrained(nodes: readonly Node[], drained: readonly Node[]): Finding[] {
  const check = "push nodes";
  const connections = nodes.reduce((sum, { connections: one = 0 }) => sum + one, 0);
  return drained.length === 0
    ? [ok(check, `${nodes.length} live, with ${connections} connections`)]
    : [
        warning(
          check,
          `${drained.map(({ id }) => id).join(", ")} of ${nodes.length} drains`,
          "Is it to be stopped? Else petrel drain NODE --undo.",
        ),
      ];
}
