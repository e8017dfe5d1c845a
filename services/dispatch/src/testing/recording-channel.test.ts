// Runs the channel conformance suite on the recording channel.
import type { ChannelAnswer } from "../channels/fallback-channel.js";
import { describeChannel } from "./channel-conformance.js";
import { RecordingChannel } from "./recording-channel.js";

describeChannel("the recording channel", async () => {
  const channel = new RecordingChannel();
  const answers: Record<string, ChannelAnswer> = {
    take: { outcome: "taken" },
    refuse: { outcome: "failed", cause: "rejected", reason: "no" },
    "fail for now": { outcome: "retry", reason: "busy" },
  };
  return {
    channel,
    behave: (as) => {
      const answer = answers[as];
      if (answer === undefined) channel.hold();
      else channel.answerWith(() => answer);
    },
    received: () =>
      channel.jobs.map(({ id, notification }) => ({ id, notification: JSON.parse(notification) as unknown })),
    close: () => Promise.resolve(),
  };
});
