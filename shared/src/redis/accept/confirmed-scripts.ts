// collect/keep-topics, collect/cancel-messages -> here -> accept/confirm-by-server: script calls whose answer waits
// until their writes are as durable as ACCEPT_DURABILITY requires.
// Guarantees: a call that changed nothing also waits for confirmation, because what it found may not be confirmed yet.
// With confirmation, a call is sent only once: a second one would run after the confirmation.
import type { EventWriting } from "../scripts/event-writing.js";
import type { ScriptName } from "../scripts/script-catalogue.js";
import { confirmByServer, type ConfirmOptions } from "./confirm-by-server.js";

/** How to call a script: like a ScriptRunner, or only once. */
export interface RunScript {
  readonly events: EventWriting;
  run(
    name: ScriptName,
    keys: readonly [string, ...string[]],
    args: readonly (string | number)[],
  ): Promise<string>;
}

/** @param partition the partition of all its calls' keys */
export function confirmedScripts(options: ConfirmOptions, partition: number): RunScript {
  const { scripts, confirm } = options;
  if (confirm === undefined) return scripts;
  return {
    events: scripts.events,
    run: async (name, keys, args) => {
      const [answer, confirmations] = scripts.together(
        () => [scripts.runOnce(name, keys, args), confirmByServer(options, [partition])] as const,
      );
      const text = await answer;
      await confirmations.get(partition);
      return text;
    },
  };
}
