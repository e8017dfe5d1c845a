// npm run bench:frames: what a binary frame format would save, beside JSON, for the frames that a push node sends and gets.
import { measureFormats } from "./frames/measure-formats.js";

const rounds = Number(process.env["ROUNDS"] ?? 7);
process.stdout.write(`${measureFormats(rounds).join("\n")}\n`);
