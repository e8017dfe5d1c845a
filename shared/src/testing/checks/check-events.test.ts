// Tests the checker of events: it finds what is wrong, and nothing else.
import { expect, test } from "vitest";
import type { EventItem } from "../../protocol/events/event-item.js";
import type { EventType } from "../../protocol/events/event-types.js";
import { checkEvents, onlineUsers } from "./check-events.js";

let n = 0;
const event = (type: EventType, about: Partial<EventItem>): EventItem => ({
  id: `e${n++}`,
  type,
  at: "2030-01-01T00:00:00.000Z",
  user: "u1",
  data: {},
  ...about,
});
const end = (state: "delivered" | "pushed" | "failed" | "expired", message: string, seq = 1): EventItem =>
  event(`message.${state}`, { message, data: { seq, epoch: "e.1" } });

test("each end has its event, and a push may be followed by a delivery", () => {
  const events = [end("pushed", "m1"), end("delivered", "m1"), end("expired", "m2", 2)];
  const messages = [
    { id: "m1", state: "delivered" },
    { id: "m2", state: "expired" },
    { id: "m3", state: "queued" },
  ];
  expect(checkEvents(events, messages)).toEqual([]);
  expect(checkEvents([...events, ...events], messages)).toEqual([]);
});

test.each([
  ["a missing event", [], "delivered"],
  ["another end", [end("expired", "m1")], "delivered"],
  ["one end twice", [end("delivered", "m1"), end("delivered", "m1", 2)], "delivered"],
  ["an end after a final one", [end("delivered", "m1"), end("pushed", "m1")], "pushed"],
  ["an event of an open message", [end("pushed", "m1")], "queued"],
  ["an unknown message", [end("delivered", "m1"), end("delivered", "m9", 2)], "delivered"],
  ["numbers out of order", [end("delivered", "m0", 2), end("delivered", "m1", 1)], "delivered"],
])("finds %s", (_what, events, state) => {
  const messages = [{ id: "m1", state }];
  if (events.some(({ message }) => message === "m0")) messages.push({ id: "m0", state: "delivered" });
  expect(checkEvents(events, messages)).toHaveLength(1);
});

test("presence is what the newest version says", () => {
  const online = (type: "user.online" | "user.offline", user: string, version: number): EventItem =>
    event(type, { user, data: { version } });
  const events = [
    online("user.online", "a", 1),
    online("user.online", "b", 2),
    online("user.offline", "a", 3),
    online("user.online", "a", 1),
  ];
  expect(onlineUsers(events)).toEqual(new Set(["b"]));
  expect(checkEvents(events, [])).toEqual(["a: version 1 is stale"]);
});
