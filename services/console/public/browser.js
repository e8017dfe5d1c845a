// The browser: what the pretend browser of the signed-in user shows while its page is closed, as the Web Push simulator
// has it.
// Guarantees: text goes in as text.
import { addBrowser, readBrowser, removeBrowser } from "./cluster.js";
import { createDeviceCard } from "./device-card.js";
import { fact } from "./list-parts.js";

/**
 * @param {{ card: HTMLElement, title: HTMLElement, note: HTMLElement, add: HTMLButtonElement, remove: HTMLButtonElement,
 *   problem: HTMLElement, list: HTMLElement }} parts
 * @returns {{ offer(isThere: boolean): void, show(userId: string): void }}
 */
export function createBrowser(parts) {
  const { add, remove, list } = parts;
  let shown = "";

  return createDeviceCard(parts, {
    name: "browser",
    titleOf: (userId) => `${userId}'s browser, the page closed`,
    noneYet: (userId) => `${userId} has not subscribed yet.`,
    read: readBrowser,
    changes: [
      [add, addBrowser],
      [remove, removeBrowser],
    ],
    render: ({ notifications }) => {
      const now = JSON.stringify(notifications);
      if (now === shown) return;
      shown = now;
      list.replaceChildren(...notifications.toReversed().map(notificationItem));
    },
  });
}

function notificationItem({ at, payload, urgency, topic }) {
  const item = document.createElement("li");
  item.dataset.id = payload.petrel?.id ?? "";
  item.title = `urgency ${urgency}${topic === null ? "" : `, topic ${topic}`}`;
  const { title = "", body = "", navigate } = payload.notification ?? {};
  item.append(fact("browser-heading", title), fact("browser-line", body));
  if (navigate !== undefined) item.append(fact("browser-address", navigate));
  item.append(fact("browser-age", new Date(at).toLocaleTimeString("en-GB")));
  return item;
}
