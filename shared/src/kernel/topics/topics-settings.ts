// collect's and push-node's config -> here: where the rules for topics stand.
// Guarantees: both services read the same variable; docs/operate/configuration.md is made from it.
import { optionalText } from "../config.js";

export const topicsSettings = {
  topicsFile: optionalText(
    "TOPICS_FILE",
    "JSON file of rules for topics, the same for collect and push-node: how much is kept, who may publish, what is told " +
      "of presence; without it every topic has the defaults; read again when it changes and at SIGHUP; see topic-rules.md",
  ),
} as const;
