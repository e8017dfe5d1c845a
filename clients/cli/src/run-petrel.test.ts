// Tests the command line itself: which command, which words and options, help and version.
// Guarantees: a wrong command line exits with 2, names the mistake and calls no service; help names every option.
import { CommandBench } from "@petrel/shared/testing/peers/command-bench";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { archiveOptions } from "./operate/archive.js";
import { auditOptions } from "./commands/audit.js";
import { cancelOptions } from "./commands/cancel.js";
import { channelsOptions } from "./operate/channels.js";
import { drainOptions } from "./operate/drain.js";
import { nodesOptions } from "./operate/nodes.js";
import { deadLettersOptions } from "./operate/dead-letters.js";
import { devicesOptions } from "./commands/devices.js";
import { eventsOptions } from "./commands/events.js";
import { keysOptions } from "./commands/keys.js";
import { listenOptions } from "./commands/listen.js";
import { redisOptions } from "./commands/redis.js";
import { scheduledOptions } from "./commands/scheduled.js";
import { sendOptions } from "./commands/send.js";
import { signingKeysOptions } from "./commands/signing-keys.js";
import { tokenOptions } from "./commands/token.js";
import { topicOptions } from "./commands/topic.js";
import { tokensOptions } from "./commands/tokens.js";
import { doctorOptions } from "./doctor/doctor.js";
import { userOptions } from "./explain/user.js";
import { whyOptions } from "./explain/why.js";
import { commandHelp } from "./help.js";
import { webhooksOptions } from "./operate/webhooks.js";
import { runPetrel } from "./run-petrel.js";

let bench: CommandBench;
beforeEach(async () => void (bench = await CommandBench.open(runPetrel)));
afterEach(() => bench.close());

describe("the command line", () => {
  it.each([
    [[], "which command?"],
    [["shout"], 'no command "shout"'],
    [["listen"], "USER is missing"],
    [["devices"], "Choose from: list, register, add-web, add-wechat, delete."],
    [["devices", "sell"], "Choose from: list"],
    [["devices", "list"], "USER is missing"],
    [["devices", "delete", "alice"], "ID is missing"],
    [["devices", "register", "alice", "--topic", "t"], "--token is missing"],
    [["devices", "register", "alice", "--platform", "android"], "--platform must be ios or wechat"],
    [["devices", "register", "alice", "--platform", "wechat", "--openid", "o"], "--appid is missing"],
    [
      [
        "devices",
        "register",
        "alice",
        "--platform",
        "wechat",
        "--openid",
        "o",
        "--appid",
        "a",
        "--token",
        "t",
      ],
      "--token is not for wechat",
    ],
    [["dead-letters"], "Choose from: list, show, replay, delete, purge."],
    [["dead-letters", "shred"], "Choose from: list"],
    [["dead-letters", "show"], "ID is missing"],
    [["dead-letters", "replay"], "ID is missing"],
    [["dead-letters", "replay", "x", "--cause", "rejected"], 'unexpected word "x"'],
    [["dead-letters", "purge"], "either --cause or --all"],
    [["dead-letters", "purge", "--all", "--cause", "rejected"], "either --cause or --all"],
    [["dead-letters", "list", "--limit", "0"], "--limit must be a whole number of at least 1"],
    [["send", "bob"], "JSON is missing"],
    [["send", "bob", "1", "2"], 'unexpected word "2"'],
    [["token", "alice", "--colour"], "--colour"],
    [["token", "alice", "--topics", "ro*om"], '"ro*om" is neither'],
    [["token", "alice", "--topics", "room/shout"], "a right is one of"],
    [["send", "--topic", "room.1"], "JSON is missing"],
    [["send", "--topic", "room 1", "1"], '"room 1" is not a topic'],
    [["send", "--topic", "$all", "1"], '"$all" is not a topic'],
    [["send", "--all", "--topic", "room.1", "1"], "either --topic, or --all"],
    [["send", "--all", "alice", "1"], 'unexpected word "1"'],
    [["topic"], "TOPIC is missing"],
    [["why"], "MESSAGE is missing"],
    [["user"], "ID is missing"],
    [["drain"], "NODE is missing"],
    [["channels"], "Choose from: list, pause, resume."],
    [["channels", "pause"], "CHANNEL is missing"],
    [["channels", "resume", "apns", "--reason", "x"], "--reason is not for channels resume"],
    [["drain", "n1", "--undo", "--wait"], "--undo goes alone"],
    [["doctor", "--redis-url", "http://x"], "--redis-url must begin with redis://"],
    [["listen", "alice", "--topic", "room 1"], '"room 1" is not a topic'],
    [["listen", "alice", "--presence"], "go with --topic"],
    [["token", "alice", "--ttl", "soon"], "--ttl must be a whole number of at least 1"],
    [["listen", "alice", "--ack", "maybe"], "--ack must be one of"],
    [["listen", "alice", "--since", "4"], "--epoch and --since go together"],
    [["token", "alice", "--auth", "ftp://x"], "--auth must be a URL with http:// or https://"],
    [["token", "alice", "--key", "nodot"], "--key must have the form KEY.SECRET"],
    [["listen", "alice", "--node", "http://x"], "--node must be a URL with ws:// or wss://"],
  ])("refuses %o with 2", async (args, problem) => {
    const run = bench.run(args);
    expect(await run.exitCode).toBe(2);
    expect(run.err[0]).toContain(problem);
    expect(run.err[1]).toContain("--help");
    expect([run.out, bench.asked]).toEqual([[], []]);
  });

  it.each([["--help"], ["-h"], ["help"]])("%s lists the commands", async (...args) => {
    const run = bench.run(args);
    expect(await run.exitCode).toBe(0);
    for (const name of Object.keys(commandHelp)) expect(run.out.join("\n")).toContain(`petrel ${name} `);
  });

  it.each([
    ["listen", listenOptions],
    ["send", sendOptions],
    ["why", whyOptions],
    ["user", userOptions],
    ["doctor", doctorOptions],
    ["cancel", cancelOptions],
    ["scheduled", scheduledOptions],
    ["events", eventsOptions],
    ["token", tokenOptions],
    ["topic", topicOptions],
    ["tokens", tokensOptions],
    ["keys", keysOptions],
    ["signing-keys", signingKeysOptions],
    ["devices", devicesOptions],
    ["channels", channelsOptions],
    ["nodes", nodesOptions],
    ["drain", drainOptions],
    ["dead-letters", deadLettersOptions],
    ["webhooks", webhooksOptions],
    ["archive", archiveOptions],
    ["audit", auditOptions],
    ["redis", redisOptions],
  ] as const)("%s --help lists every option", async (name, options) => {
    const run = bench.run([name, "--help"]);
    expect([await run.exitCode, run.out.join("\n")]).toEqual([0, commandHelp[name]]);
    for (const option of Object.keys(options)) expect(run.out.join()).toContain(`--${option}`);
    expect((await bench.run(["help", name]).exitCode) === 0).toBe(true);
  });

  it("prints the version", async () => {
    const run = bench.run(["--version"]);
    expect([await run.exitCode, run.out]).toEqual([0, ["1.2.3"]]);
  });
});
