// collect, dispatch, push-node <- here: which events are written, and how many are kept.
// Guarantees: an unknown event type ends the start.
import {
  defaultEventTypes,
  eventTypes,
  isEventType,
  type EventType,
} from "../../protocol/events/event-types.js";
import { integer, type Setting } from "../config.js";

const events: { readonly env: string; readonly setting: Setting<readonly EventType[]> } = {
  env: "EVENTS",
  setting: {
    describe:
      "types of events that are written, separated by commas; `all` or `none`; the same for collect, dispatch and push-node; see events.md",
    default: defaultEventTypes,
    parse: parseEventTypes,
  },
};

export const eventSettings = {
  events,
  eventsHours: integer("EVENTS_HOURS", "how long an event is kept, in hours", {
    default: 96,
    min: 1,
    max: 8_760,
  }),
  eventsCap: integer(
    "EVENTS_CAP",
    "events that a partition keeps; beyond that the oldest are removed, and readers who missed them are told",
    { default: 100_000, min: 100, max: 100_000_000 },
  ),
} as const;

function parseEventTypes(text: string): readonly EventType[] {
  if (text === "all") return eventTypes;
  if (text === "none") return [];
  const words = text.split(",").map((word) => word.trim());
  const found = words.filter(isEventType);
  if (found.length !== words.length || new Set(found).size !== found.length) {
    throw new Error(
      `\`all\`, \`none\`, or some of ${eventTypes.join(", ")}, each once, not ${JSON.stringify(text)}`,
    );
  }
  return found;
}
