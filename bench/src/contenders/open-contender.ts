// Bench: opens a contender by its name.
import type { Contender, LeftOut } from "./contender.js";
import { openCentrifugo } from "./open-centrifugo.js";
import { openFloor } from "./open-floor.js";
import { openNchan } from "./open-nchan.js";
import { openPetrel, type OpenPetrelOptions } from "./open-petrel.js";
import { openSocketIo } from "./open-socket-io.js";
import { openWs } from "./open-ws.js";

export const CONTENDERS = [
  "floor",
  "petrel",
  "socket.io",
  "socket.io-streams",
  "centrifugo",
  "nchan",
  "ws",
] as const;
export type ContenderName = (typeof CONTENDERS)[number];

export function openContender(
  name: ContenderName,
  petrel: OpenPetrelOptions = {},
): Promise<Contender | LeftOut> {
  switch (name) {
    case "floor":
      return openFloor();
    case "petrel":
      return openPetrel(petrel);
    case "socket.io":
      return openSocketIo("pub-sub");
    case "socket.io-streams":
      return openSocketIo("streams");
    case "centrifugo":
      return openCentrifugo();
    case "nchan":
      return openNchan();
    case "ws":
      return openWs();
  }
}

/** Where CPU profiles of Petrel's processes go. */
export function profiledIn(directory: string | undefined): OpenPetrelOptions {
  return directory === undefined
    ? {}
    : { nodeArguments: ["--cpu-prof", `--cpu-prof-dir=${directory}`, "--cpu-prof-interval=500"] };
}
