// Tests the ports that tests are given.
import { expect, test } from "vitest";
import { freePort, freePortRange } from "./free-port.js";

test("a worker that has used very many ports still gets sixty in a row, and no port twice", async () => {
  const ports = [];
  for (let i = 0; i < 600; i++) ports.push(await freePort());
  const first = await freePortRange(60);
  expect(new Set(ports).size).toBe(600);
  for (let port = first; port < first + 60; port++) expect(ports).not.toContain(port);
});
