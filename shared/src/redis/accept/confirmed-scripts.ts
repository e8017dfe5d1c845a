// collect/keep-topics, collect/cancel-messages -> here -> accept/confirm-by-server: script calls that are answered when
// what they wrote has reached what ACCEPT_DURABILITY asks for.
// Guarantees: also a call that changed nothing is answered behind its confirmation: what it found may not be confirmed
// yet. With a confirmation a call is sent once only: sent again, it would run behind it.
import type { EventWriting } from "../scripts/event-writing.js";
import type { ScriptName } from "../scripts/script-catalogue.js";
import { confirmByServer, type ConfirmOptions } from "./confirm-by-server.js";

/** How a script is called: as a ScriptRunner does, or once only. */
export interface RunScript {
  readonly events: EventWriting;
  run(
    name: ScriptName,
    keys: readonly [string, ...string[]],
    args: readonly (string | number)[],
  ): Promise<string>;
}

/** @param partition of all keys of its calls */
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
