// collect, push-node -> here -> read-topics-file: the rules for topics, as TOPICS_FILE states them now.
// Guarantees: an invalid file ends the start. At run time the file is read again when it changes and at SIGHUP; an
// invalid one is logged with its line, and the previous rules stay in force.
import { readFileSync } from "node:fs";
import { ConfigError } from "../config.js";
import { describeError } from "../errors.js";
import type { Lifecycle } from "../lifecycle/lifecycle.js";
import type { Logger } from "../logging/logging.js";
import { type TopicRule, TopicRules } from "../../protocol/topics/topic-rules.js";
import { readTopicRules } from "./read-topics-file.js";

interface TopicsFileOwner {
  readonly logger: Pick<Logger, "info" | "warn">;
  readonly lifecycle: Pick<Lifecycle, "onStop">;
}

const POLL_MS = 5_000;

export class TopicsFile {
  readonly #file: string | undefined;
  readonly #lacksArchive: (rule: TopicRule) => boolean;
  #text: string;
  #rules: TopicRules;

  /**
   * @param file undefined if there is none; then every topic has the defaults
   * @param lacksArchive whether a rule wants an archive that this process does not have
   * @throws ConfigError if the file cannot be used
   */
  constructor(file: string | undefined, lacksArchive: (rule: TopicRule) => boolean = () => false) {
    this.#file = file;
    this.#lacksArchive = lacksArchive;
    try {
      this.#text = file === undefined ? "" : readFileSync(file, "utf8");
      this.#rules = new TopicRules(file === undefined ? [] : readTopicRules(this.#text, lacksArchive));
    } catch (error) {
      throw new ConfigError(`TOPICS_FILE cannot be used: ${describeError(error)}`);
    }
  }

  /** The rule that applies to a topic at this moment. */
  ruleOf(topic: string): TopicRule {
    return this.#rules.ruleOf(topic);
  }

  /**
   * For a composition root: applies changes of the file until the stop.
   * @param onChanged called when other rules are in force
   */
  follow({ logger, lifecycle }: TopicsFileOwner, onChanged: () => void = () => undefined): void {
    const file = this.#file;
    if (file === undefined) return;
    // A poll logs a refusal once; whoever sends a signal gets an answer each time.
    let refused = "";
    const reload = (isAsked: boolean): void => {
      try {
        const text = readFileSync(file, "utf8");
        if (text !== this.#text) {
          const rules = readTopicRules(text, this.#lacksArchive);
          this.#rules = new TopicRules(rules);
          this.#text = text;
          logger.info({ rules: rules.length }, "topics file: reloaded; its rules are in force");
          onChanged();
        } else if (isAsked) logger.info("topics file: unchanged");
        refused = "";
      } catch (error) {
        const reason = describeError(error);
        if (reason === refused && !isAsked) return;
        refused = reason;
        logger.warn({ reason }, "topics file: cannot be used; the previous rules stay in force");
      }
    };
    const timer = setInterval(() => reload(false), POLL_MS).unref();
    const onHangUp = (): void => reload(true);
    process.on("SIGHUP", onHangUp);
    lifecycle.onStop("topics file", () => {
      clearInterval(timer);
      process.off("SIGHUP", onHangUp);
    });
  }
}
