// process-launcher -> here: the small process that starts others.
// Guarantees: it tells how each ended; it ends with whoever started it, and kills what still runs.
import { launchProcess, type LaunchedProcess } from "../../embedded-redis/launch-process.js";
import type { LauncherAnswer, LauncherOrder } from "./process-launcher.js";

const running = new Set<LaunchedProcess>();

function answer(message: LauncherAnswer): void {
  if (process.connected) process.send?.(message);
}

async function launch({ id, ...order }: LauncherOrder): Promise<void> {
  try {
    const launched = await launchProcess(order);
    if (launched === undefined) return answer({ told: "no-command", id });
    running.add(launched);
    answer({ told: "launched", id, pid: launched.pid });
    // Its owner has gone meanwhile, and so must it.
    if (!process.connected) launched.signal("SIGKILL");
    const exit = await launched.exited;
    running.delete(launched);
    answer({ told: "exited", id, exit });
  } catch (error) {
    answer({ told: "failed", id, why: String(error) });
  }
}

process.on("message", (order: LauncherOrder) => void launch(order));
process.on("disconnect", () => {
  for (const launched of running) launched.signal("SIGKILL");
  process.exit();
});
