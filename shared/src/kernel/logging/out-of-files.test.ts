// Tests what a service reports when it can open no more sockets, in a process that really has none left.
import { spawnSync } from "node:child_process";
import { expect, test } from "vitest";

test("a process without file descriptors is not ready, says so once, and recovers", () => {
  const script = `
    import { closeSync, openSync } from "node:fs";
    import { createLogger } from "@petrel/shared/kernel/logging/logging";
    import { buildHttpApp } from "@petrel/shared/kernel/http/http-app";
    import { createRegistry } from "@petrel/shared/kernel/metrics/metrics";
    const metrics = createRegistry("test");
    const app = await buildHttpApp({
      service: "test",
      version: "1",
      logger: createLogger({ service: "test", level: "info" }),
      bodyLimitBytes: 1024,
      metrics,
      readiness: () => ({ ready: true, checks: {} }),
    });
    const ask = async () => {
      const { statusCode, body } = await app.inject("/health/ready");
      const text = (await app.inject("/metrics")).body;
      const gauge = /^petrel_out_of_file_descriptors\\{.*\\} (\\d)$/m.exec(text)?.[1];
      console.log("SAID " + JSON.stringify([statusCode, gauge, JSON.parse(body).checks]));
    };
    await ask();
    const files = [];
    try {
      for (;;) files.push(openSync("/dev/null", "r"));
    } catch {}
    for (let i = 0; i < 5; i++) await ask();
    for (const file of files) closeSync(file);
    await ask();
    await app.close();`;
  const { stdout, stderr } = spawnSync(
    "sh",
    ["-c", 'ulimit -n 1000 && exec "$0" "$@"', process.execPath, "--input-type=module", "-e", script],
    { encoding: "utf8", cwd: new URL("../../..", import.meta.url) },
  );
  const said = [...stdout.matchAll(/^SAID (.*)$/gm)].map(([, text = ""]) => JSON.parse(text) as unknown);
  const none = [503, "1", { files: "no file descriptors left: EMFILE" }];
  expect(said, stderr).toEqual([[200, "0", {}], none, none, none, none, none, [200, "0", {}]]);
  const lines = stdout
    .split("\n")
    .filter((line) => line.includes("file descriptors") && !line.startsWith("SAID"));
  expect(lines).toHaveLength(2);
});
