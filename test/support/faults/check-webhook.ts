// Tests only: the checker of what a webhook's receiver got.
// Guarantees: finds a wrong signature, an id with two bodies, an item id with two contents, items of a user out of order,
// and an end without its event, or with another one.
import { createHmac } from "node:crypto";
import type { EventItem } from "@petrel/shared/protocol/events/event-item";
import { decodeEventPosition, type EventPosition } from "@petrel/shared/protocol/events/event-position";
import type { ReceivedRequest } from "../../../services/dispatch/src/testing/webhook-receiver.js";

export interface WebhookTruth {
  /** `whsec_…` */
  readonly secret: string;
  /** How each message ended, by its id: `delivered`, `expired`, … */
  readonly ends: ReadonlyMap<string, string>;
}

/** @param taken requests that were answered 2xx; @param all these and those that were not */
export function checkWebhook(
  taken: readonly ReceivedRequest[],
  all: readonly ReceivedRequest[],
  { secret, ends }: WebhookTruth,
): string[] {
  const problems = [...checkRequests(all, secret)];
  const contents = new Map<string, string>();
  const newest = new Map<string, EventPosition>();
  const eventsOf = new Map<string, string[]>();
  for (const item of taken.flatMap(itemsOf)) {
    const text = JSON.stringify(item);
    const known = contents.get(item.id);
    if (known !== undefined) {
      if (known !== text) problems.push(`${item.id} came with two contents`);
      continue;
    }
    contents.set(item.id, text);
    const { user = "", message = "" } = item;
    const position = positionOf(item);
    const before = newest.get(user);
    if (before !== undefined && !isBehind(position, before))
      problems.push(`${item.id} of ${user} is out of order`);
    newest.set(user, position);
    eventsOf.set(message, [...(eventsOf.get(message) ?? []), item.type]);
  }
  for (const [message, end] of ends) {
    const got = eventsOf.get(message) ?? [];
    if (got.length !== 1 || got[0] !== `message.${end}`)
      problems.push(`${message} is ${end}, and its events are [${got.join()}]`);
  }
  return problems;
}

function* checkRequests(requests: readonly ReceivedRequest[], secret: string): Generator<string> {
  const key = Buffer.from(secret.replace("whsec_", ""), "base64");
  const bodies = new Map<string, string>();
  for (const { headers, body } of requests) {
    const [id, timestamp] = [String(headers["webhook-id"]), String(headers["webhook-timestamp"])];
    const signature = `v1,${createHmac("sha256", key).update(`${id}.${timestamp}.${body}`).digest("base64")}`;
    if (headers["webhook-signature"] !== signature) yield `${id} is not signed rightly`;
    if ((bodies.get(id) ?? body) !== body) yield `${id} came with two bodies`;
    bodies.set(id, body);
  }
}

export function itemsOf({ body }: ReceivedRequest): readonly EventItem[] {
  return (JSON.parse(body) as { readonly data: { readonly items: readonly EventItem[] } }).data.items;
}

function positionOf({ id }: EventItem): EventPosition {
  const position = decodeEventPosition(id.slice(id.indexOf(".") + 1));
  if (position === undefined) throw new Error(`${id} is no event's id`);
  return position;
}

function isBehind(one: EventPosition, other: EventPosition): boolean {
  return one.ms > other.ms || (one.ms === other.ms && one.n > other.n);
}
