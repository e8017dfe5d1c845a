// Tests only -> service/open-service: what a service's process has, inside a test's process.
// Guarantees: silent, without signal handlers; `lifecycle.stop()` closes what the service has opened.
import { type Clock, systemClock } from "../kernel/clock.js";
import { createLifecycle } from "../kernel/lifecycle/lifecycle.js";
import { createLogger, type Logger } from "../kernel/logging/logging.js";
import { CompiledSchemas } from "../kernel/schemas/compile-when-used.js";
import { openService, type Service, type ServiceConfig } from "../service/open-service.js";

export interface TestServiceOptions {
  readonly clock?: Clock;
  readonly logger?: Logger;
  readonly instance?: string;
  readonly stopDeadlineMs?: number;
}

const silent = createLogger({ service: "test", level: "silent" });
/** One for each process that runs tests. */
const compiledSchemas = new CompiledSchemas();

/** @throws what `openService` throws */
export async function openTestService(
  name: string,
  config: ServiceConfig,
  {
    clock = systemClock,
    logger = silent,
    instance = "test",
    stopDeadlineMs = 30_000,
  }: TestServiceOptions = {},
): Promise<Service> {
  const lifecycle = createLifecycle({
    logger,
    stopDeadlineMs,
    exit: () => {
      throw new Error(`${name} took longer than ${stopDeadlineMs} ms to stop`);
    },
  });
  return openService(config, { name, version: "0.0.0", instance, logger, lifecycle, clock, compiledSchemas });
}
