// The local run: the options after `npm start --`.
// Guarantees: an option that is unknown or out of range is refused, by name; nothing is guessed.
import { parseArgs } from "node:util";
import { maxCollects, maxDispatchers, maxNodes } from "./ports/local-ports.js";

export interface LocalOptions {
  readonly nodes: number;
  readonly collects: number;
  readonly dispatchers: number;
  readonly restart: boolean;
  readonly help: boolean;
}

/** A wrong command line: exit code 2, as with getopt. */
export class OptionError extends Error {
  override readonly name = "OptionError";
}

export const usage = `npm start [-- options]

  --nodes N         push nodes (2; up to ${maxNodes})
  --collects N      collects (1; up to ${maxCollects})
  --dispatchers N   dispatchers (1; up to ${maxDispatchers})
  --no-restart      do not restart a service that dies
  --help            this text

Environment: PETREL_PORT_BASE (7100), PETREL_DATA_DIR (.data), REDIS_URL (an embedded Redis if unset),
APNS_… (pushes go to a simulator if unset);
everything else is passed through to the services. More: docs/start/local-run.md`;

/** @throws OptionError */
export function parseOptions(args: readonly string[]): LocalOptions {
  const { values } = parse(args);
  return {
    nodes: count("--nodes", values.nodes, maxNodes),
    collects: count("--collects", values.collects, maxCollects),
    dispatchers: count("--dispatchers", values.dispatchers, maxDispatchers),
    restart: !values["no-restart"],
    help: values.help,
  };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      strict: true,
      allowPositionals: false,
      options: {
        nodes: { type: "string", default: "2" },
        collects: { type: "string", default: "1" },
        dispatchers: { type: "string", default: "1" },
        "no-restart": { type: "boolean", default: false },
        help: { type: "boolean", short: "h", default: false },
      },
    });
  } catch (error) {
    const [firstSentence] = (error instanceof Error ? error.message : String(error)).split(". ");
    throw new OptionError(`${firstSentence} (npm start -- --help lists the options)`, { cause: error });
  }
}

function count(option: string, text: string, max: number): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < 1 || value > max) {
    throw new OptionError(`${option} must be a whole number from 1 to ${max}, not ${JSON.stringify(text)}`);
  }
  return value;
}
