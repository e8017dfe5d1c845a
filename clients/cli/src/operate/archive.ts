// `petrel archive status|redrive`.
// Guarantees: calls dispatch only; with --json each page of the answer is a line.
import type { ExitCode } from "../cli-error.js";
import { addressOptions } from "../cluster-address.js";
import { type Call, runAction } from "../run-action.js";
import type { Terminal } from "../terminal.js";

export const archiveOptions = {
  ...addressOptions,
  json: { type: "boolean" },
} as const;

type ArchiveCall = Call<typeof archiveOptions>;

interface Status {
  readonly server: string;
  readonly rows: number;
  readonly erasuresOpen: number;
  readonly items: readonly Partition[];
  readonly nextCursor: string | null;
}

interface Partition {
  readonly partition: number;
  readonly open: number;
  readonly overdue: number;
  readonly lagSeconds: number;
  readonly spooled: number;
  readonly redrive: {
    readonly state: string;
    readonly looked: number;
    readonly driven: number;
    readonly changedAt: string | null;
  };
}

const PAGE_SIZE = 50;

export const runArchive = (args: readonly string[], terminal: Terminal): Promise<ExitCode> =>
  runAction(
    {
      name: "archive",
      service: "dispatch",
      options: archiveOptions,
      actions: {
        status: { words: [], run: showStatus },
        redrive: { words: [], run: redrive },
      },
    },
    args,
    terminal,
  );

async function showStatus({ values, terminal, ask }: ArchiveCall): Promise<ExitCode> {
  for (let cursor: string | null | undefined; cursor !== null;) {
    const next = cursor === undefined ? "" : `&cursor=${cursor}`;
    const answer = await ask("GET", `/v1/archive?limit=${PAGE_SIZE}${next}`);
    const status = answer as unknown as Status;
    if (values.json === true) terminal.print(JSON.stringify(answer));
    else {
      const { server, rows, erasuresOpen } = status;
      if (cursor === undefined)
        terminal.print(`server ${server}, about ${rows} messages, ${erasuresOpen} erasures to finish`);
      for (const one of status.items) terminal.print(describe(one));
    }
    cursor = status.nextCursor;
  }
  return 0;
}

async function redrive({ values, terminal, ask }: ArchiveCall): Promise<ExitCode> {
  const answer = await ask("POST", "/v1/archive/redrive");
  terminal.print(
    values.json === true
      ? JSON.stringify(answer)
      : `${String(answer["partitions"])} partitions are being searched again; petrel archive status shows the progress`,
  );
  return 0;
}

function describe({ partition, open, overdue, lagSeconds, spooled, redrive }: Partition): string {
  const { state, looked, driven, changedAt } = redrive;
  const lag = `${open} open, ${overdue} overdue by up to ${lagSeconds.toFixed(1)} s, ${spooled} spooled`;
  const when = changedAt === null ? "" : ` (${changedAt})`;
  return `partition ${partition}: ${lag}; redrive ${state}, ${looked} looked at, ${driven} sent again${when}`;
}
