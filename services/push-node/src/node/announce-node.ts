// push-node: maintains this node's key in Redis, which shows dispatchers that it is alive.
// Guarantees: renewed three times within its TTL; removed at a planned stop, so that nobody waits for it to expire. If
// it expired nevertheless, the caller is told: this node's routes may have been removed meanwhile.
import type { CommonTicks } from "@petrel/shared/kernel/common-tick";
import { describeError } from "@petrel/shared/kernel/errors";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import { announceNode, withdrawNode } from "@petrel/shared/redis/nodes/node-presence";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";

export async function announceWhileRunning(
  scripts: ScriptRunner,
  ticks: Pick<CommonTicks, "every">,
  nodeId: string,
  ttlMs: number,
  logger: Logger,
  onHadEnded: () => void,
  onBeat: () => void = () => undefined,
): Promise<{ readonly stop: () => Promise<void> }> {
  await announceNode(scripts, nodeId, ttlMs);
  onBeat();
  const end = ticks.every(ttlMs / 3, () => {
    onBeat();
    announceNode(scripts, nodeId, ttlMs).then(
      (wasThere) => {
        if (!wasThere) onHadEnded();
      },
      (error: unknown) => logger.warn({ reason: describeError(error) }, "presence not renewed"),
    );
  });
  return {
    stop: async () => {
      end();
      await withdrawNode(scripts.redis, nodeId);
    },
  };
}
