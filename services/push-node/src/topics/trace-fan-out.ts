// push-node/fan-out/fan-out -> here -> kernel/tracing: the span of a sampled topic message, from its arrival on this
// node to the write to its last subscriber.
// Guarantees: a message that is not sampled costs nothing.
import { NO_TRACING, type Tracing } from "@petrel/shared/kernel/tracing/tracing";
import type { FanOutObserver } from "../fan-out/fan-out.js";

export function traceFanOut(tracing: Tracing, nodeId: string, next: FanOutObserver): FanOutObserver {
  if (tracing === NO_TRACING) return next;
  return {
    passed: (topic, pass, ms) => {
      next.passed(topic, pass, ms);
      for (const trace of pass.traces) {
        const span = tracing.beginSpan("fan out", trace, {
          kind: "consumer",
          startMs: Date.now() - ms,
          attributes: {
            "messaging.system": "petrel",
            "messaging.operation.type": "process",
            "messaging.destination.partition.id": String(topic.keys.partition),
            "petrel.node": nodeId,
            "petrel.subscribers": pass.sent,
          },
        });
        span?.end();
      }
    },
  };
}
