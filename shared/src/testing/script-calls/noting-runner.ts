// Tests only: a script runner that records every call and its answer.
import { type EventType, eventTypes } from "../../protocol/events/event-types.js";
import type { Redis } from "../../redis/connection/connect.js";
import { EventWriting } from "../../redis/scripts/event-writing.js";
import { readScripts, type ScriptName } from "../../redis/scripts/script-catalogue.js";
import { ScriptRunner } from "../../redis/scripts/script-runner.js";

export interface Call {
  readonly name: ScriptName;
  readonly keys: readonly string[];
  readonly args: readonly (string | number)[];
  answer?: unknown;
}

/** Runs everything as usual, with all events, and records the calls. */
export class NotingRunner extends ScriptRunner {
  readonly calls: Call[] = [];

  constructor(redis: Redis, types: readonly EventType[] = eventTypes) {
    super(redis, readScripts(), new EventWriting(types, 1_000));
  }

  override async run(...[name, keys, args]: Parameters<ScriptRunner["run"]>): Promise<string> {
    const call: Call = { name, keys, args };
    this.calls.push(call);
    const answer = await super.run(name, keys, args);
    call.answer = answer;
    return answer;
  }

  override async runForList(
    ...[name, keys, args]: Parameters<ScriptRunner["runForList"]>
  ): Promise<string[]> {
    const call: Call = { name, keys, args };
    this.calls.push(call);
    const answer = await super.runForList(name, keys, args);
    call.answer = answer;
    return answer;
  }
}
