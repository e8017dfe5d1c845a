// collect's and push-node's config -> here: the setting TOPICS_FILE.
// Guarantees: both services read the same variable; docs/operate/configuration.md is made from it.
import { optionalText } from "../config.js";

export const topicsSettings = {
  topicsFile: optionalText(
    "TOPICS_FILE",
    "JSON file of topic rules (history, publishing by clients, presence), the same for collect and push-node; every topic has the defaults without it; reloaded when it changes and at SIGHUP; see topic-rules.md",
  ),
} as const;
