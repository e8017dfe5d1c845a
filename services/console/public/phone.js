// The phone: what the pretend iPhone of the signed-in user shows, as the APNs simulator has it.
// Guarantees: text goes in as text.
import { addPhone, clearPhone, readPhone, removePhone } from "./cluster.js";
import { createDeviceCard } from "./device-card.js";
import { fact } from "./list-parts.js";

/**
 * @param {{ card: HTMLElement, title: HTMLElement, note: HTMLElement, add: HTMLButtonElement, remove: HTMLButtonElement,
 *   clear: HTMLButtonElement, problem: HTMLElement, screen: HTMLElement }} parts
 * @returns {{ offer(isThere: boolean): void, show(userId: string): void }}
 */
export function createPhone(parts) {
  const { add, remove, clear, screen } = parts;
  const list = screen.querySelector(".phone-list");
  const badge = screen.querySelector(".phone-badge");
  let shown = "";

  function render({ registered, badge: count, notifications }) {
    screen.dataset.state = registered || notifications.length > 0 ? "on" : "none";
    clear.hidden = notifications.length === 0;
    badge.hidden = count === 0;
    badge.textContent = String(count);
    const now = JSON.stringify(notifications.map(({ at, apnsId }) => [at, apnsId]));
    if (now === shown) {
      for (const [i, { at }] of notifications.entries()) showAge(list.children[i], at);
      return;
    }
    const before = new Set([...list.children].map((item) => item.dataset.key));
    shown = now;
    list.replaceChildren(...notifications.map(notificationItem));
    for (const item of list.children) item.classList.toggle("new", !before.has(item.dataset.key));
  }

  return createDeviceCard(parts, {
    name: "phone",
    titleOf: (userId) => `${userId}'s phone`,
    noneYet: (userId) => `${userId} has no phone yet.`,
    read: readPhone,
    changes: [
      [add, addPhone],
      [remove, removePhone],
      [clear, clearPhone],
    ],
    render,
    tick: () => showClock(screen),
  });
}

function notificationItem({ at, apnsId, topic, payload }) {
  const item = document.createElement("li");
  item.dataset.key = `${at} ${apnsId}`;
  item.dataset.apnsId = apnsId;
  item.title = `${topic}, ${apnsId}`;
  const icon = document.createElement("img");
  icon.src = "/icon.svg";
  icon.alt = "";
  const { heading, text } = readAlert(payload.aps?.alert);
  const body = document.createElement("div");
  body.className = "phone-text";
  const head = document.createElement("div");
  head.className = "phone-head";
  head.append(fact("phone-heading", heading), fact("phone-age", ""));
  body.append(head);
  for (const line of text) body.append(fact("phone-line", line));
  item.append(icon, body);
  showAge(item, at);
  return item;
}

/** An alert is a text, or an object with title, subtitle and body or their keys for the app's own translations. */
function readAlert(alert) {
  if (typeof alert !== "object" || alert === null) return { heading: "Petrel", text: [String(alert ?? "")] };
  const part = (name, key) => alert[name] ?? (alert[key] === undefined ? undefined : `⟨${alert[key]}⟩`);
  const text = [part("subtitle", "subtitle-loc-key"), part("body", "loc-key")];
  return {
    heading: part("title", "title-loc-key") ?? "Petrel",
    text: text.filter((line) => line !== undefined),
  };
}

function showAge(item, at) {
  const age = item?.querySelector(".phone-age");
  if (age === null || age === undefined) return;
  const minutes = Math.floor((Date.now() - new Date(at).getTime()) / 60_000);
  age.textContent =
    minutes < 1 ? "now" : minutes < 60 ? `${minutes}m ago` : `${Math.floor(minutes / 60)}h ago`;
}

function showClock(screen) {
  const now = new Date();
  const time = now.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
  screen.querySelector(".phone-clock").textContent = time;
  screen.querySelector(".phone-time").textContent = time;
  screen.querySelector(".phone-date").textContent = now.toLocaleDateString("en-GB", {
    weekday: "long",
    day: "numeric",
    month: "long",
  });
}
