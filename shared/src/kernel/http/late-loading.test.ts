// Tests what an application loads, and when: a start pays for nothing that most processes never use.
// Guarantees: the compilers of schemas come with the first request that has one, the document with the first who asks.
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const script = `
  import { createRequire } from "node:module";
  import { buildHttpApp } from ${JSON.stringify(new URL("../../../dist/kernel/http/http-app.js", import.meta.url).href)};
  import { createLogger } from ${JSON.stringify(new URL("../../../dist/kernel/logging/logging.js", import.meta.url).href)};

  const app = await buildHttpApp({
    service: "s",
    version: "v",
    logger: createLogger({ service: "s", level: "silent" }),
    readiness: () => ({ ready: true, checks: {} }),
    bodyLimitBytes: 100,
    documented: true,
  });
  const schema = { type: "object", properties: { a: { type: "integer" } }, additionalProperties: false };
  app.get("/checked", { schema: { querystring: schema } }, () => "");
  app.get("/written", { schema: { response: { 200: schema } } }, () => ({ a: "1", b: 2 }));
  await app.ready();
  const packages = ["ajv", "@fastify/ajv-compiler", "fast-json-stringify", "@fastify/swagger", "@fastify/swagger-ui", "yaml"];
  const seen = [];
  for (const path of ["/health/live", "/checked?b=1", "/written", "/openapi.json"]) {
    const { statusCode } = await app.inject(path);
    const loaded = Object.keys(createRequire(import.meta.url).cache);
    // The serializer of the framework's own errors is a part of it.
    const whole = loaded.filter((file) => !file.includes("/fast-json-stringify/lib/"));
    seen.push([path, statusCode, packages.filter((name) => whole.some((file) => file.includes("/node_modules/" + name + "/")))]);
  }
  process.stdout.write(JSON.stringify(seen));`;

test("loads each part when it is first needed", async () => {
  const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "--eval", script], {
    cwd: fileURLToPath(new URL("../../../..", import.meta.url)),
  });
  const validator = ["ajv", "@fastify/ajv-compiler"];
  expect(JSON.parse(stdout)).toEqual([
    ["/health/live", 200, []],
    ["/checked?b=1", 400, validator],
    ["/written", 200, [...validator, "fast-json-stringify"]],
    [
      "/openapi.json",
      200,
      [...validator, "fast-json-stringify", "@fastify/swagger", "@fastify/swagger-ui", "yaml"],
    ],
  ]);
}, 60_000);
