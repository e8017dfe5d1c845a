// Tests how the simulators of phones start: beside each other, or alone.
// Guarantees: one that cannot start says why and ends nobody else; one that is stopped no longer listens.
import { expect, test } from "vitest";
import { freePortRange } from "../free-port.js";
import { startApnsSimulator } from "./start-apns-simulator.js";
import { startSimulatorProcess } from "./simulator-process.js";
import { startWechatSimulator } from "./start-wechat-simulator.js";

const answers = (url: string): Promise<boolean> =>
  fetch(`${url}/health/ready`).then(
    ({ ok }) => ok,
    () => false,
  );

test("simulators share one process, and each stops for itself", async () => {
  const [apns, wechat] = await Promise.all([startApnsSimulator(), startWechatSimulator()]);
  try {
    expect(apns.pid).toBe(wechat.pid);
    await apns.stop();
    expect(await answers(apns.controlUrl)).toBe(false);
    expect(await answers(wechat.url)).toBe(true);
  } finally {
    await apns.stop();
    await wechat.stop();
  }
});

test("one that is measured has a process of its own, which ends with it", async () => {
  const [one, shared] = await Promise.all([startApnsSimulator({ alone: true }), startApnsSimulator()]);
  try {
    expect(one.pid).not.toBe(shared.pid);
    await one.stop();
    expect(() => process.kill(one.pid, 0)).toThrow("ESRCH");
  } finally {
    await one.stop();
    await shared.stop();
  }
});

test("one that cannot start says why, and the others go on", async () => {
  const other = await startApnsSimulator();
  try {
    const port = await freePortRange(2);
    const environment = {
      APNS_SIMULATOR_TLS_PORT: String(port + 1),
      APNS_SIMULATOR_KEYS_FILE: "/no/such/file",
    };
    await expect(startSimulatorProcess({ name: "apns-simulator", port, environment })).rejects.toThrow(
      /ended at its start\n.*\/no\/such\/file/,
    );
    expect(await answers(other.controlUrl)).toBe(true);
  } finally {
    await other.stop();
  }
});
