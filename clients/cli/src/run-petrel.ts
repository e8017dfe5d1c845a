// Finds the requested command and runs it.
// Guarantees: every failure is one line on standard error and an exit code, never a stack trace; other people's text
// cannot control the terminal.
import { CliError, usageError, type ExitCode } from "./cli-error.js";
import { runArchive } from "./operate/archive.js";
import { runAudit } from "./commands/audit.js";
import { runCancel } from "./commands/cancel.js";
import { runChannels } from "./operate/channels.js";
import { runDrain } from "./operate/drain.js";
import { runNodes } from "./operate/nodes.js";
import { runDeadLetters } from "./operate/dead-letters.js";
import { runDevices } from "./commands/devices.js";
import { runEvents } from "./commands/events.js";
import { runKeys } from "./commands/keys.js";
import { runListen } from "./commands/listen.js";
import { runRedis } from "./commands/redis.js";
import { runScheduled } from "./commands/scheduled.js";
import { runSend } from "./commands/send.js";
import { runSigningKeys } from "./commands/signing-keys.js";
import { runToken } from "./commands/token.js";
import { runTopic } from "./commands/topic.js";
import { runTokens } from "./commands/tokens.js";
import { runDoctor } from "./doctor/doctor.js";
import { runUser } from "./explain/user.js";
import { runWhy } from "./explain/why.js";
import { runWebPushKey } from "./commands/web-push-key.js";
import { commandHelp, generalHelp, type CommandName } from "./help.js";
import { runWebhooks } from "./operate/webhooks.js";
import { plainTerminal } from "./plain-text.js";
import type { Terminal } from "./terminal.js";

const commands: Readonly<
  Record<CommandName, (args: readonly string[], terminal: Terminal) => Promise<ExitCode>>
> = {
  listen: runListen,
  send: runSend,
  why: runWhy,
  user: runUser,
  doctor: runDoctor,
  cancel: runCancel,
  scheduled: runScheduled,
  events: runEvents,
  token: runToken,
  topic: runTopic,
  channels: runChannels,
  nodes: runNodes,
  drain: runDrain,
  "dead-letters": runDeadLetters,
  devices: runDevices,
  keys: runKeys,
  tokens: runTokens,
  "signing-keys": runSigningKeys,
  "web-push-key": runWebPushKey,
  webhooks: runWebhooks,
  archive: runArchive,
  audit: runAudit,
  redis: runRedis,
};

/**
 * @param args the words after `petrel`
 * @returns the exit code
 */
export async function runPetrel(
  args: readonly string[],
  world: Terminal,
  version: string,
): Promise<ExitCode> {
  const terminal = plainTerminal(world);
  try {
    return await dispatch(args, terminal, version);
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    terminal.note(`petrel: ${error.message}`);
    if (error.exitCode === 2) terminal.note(`Try: petrel ${isCommand(args[0]) ? `${args[0]} ` : ""}--help`);
    return error.exitCode;
  }
}

async function dispatch(args: readonly string[], terminal: Terminal, version: string): Promise<ExitCode> {
  const [name, ...rest] = args;
  if (name === "--version") {
    terminal.print(version);
    return 0;
  }
  if (name === "--help" || name === "-h" || name === "help") {
    const [about] = rest;
    printLines(isCommand(about) ? commandHelp[about] : generalHelp, terminal);
    return 0;
  }
  if (name === undefined)
    throw usageError(`which command? Choose from: ${Object.keys(commands).join(", ")}.`);
  if (!isCommand(name)) throw usageError(`there is no command ${JSON.stringify(name)}`);
  if (asksForHelp(rest)) {
    printLines(commandHelp[name], terminal);
    return 0;
  }
  return commands[name](rest, terminal);
}

function printLines(text: string, { print }: Terminal): void {
  for (const line of text.split("\n")) print(line);
}

function asksForHelp(args: readonly string[]): boolean {
  const end = args.indexOf("--");
  const options = end === -1 ? args : args.slice(0, end);
  return options.includes("--help") || options.includes("-h");
}

function isCommand(name: string | undefined): name is CommandName {
  return name !== undefined && Object.hasOwn(commands, name);
}
