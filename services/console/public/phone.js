// The phone: what the pretend iPhone of the signed-in user shows, as the APNs simulator has it.
// Guarantees: text goes in as text; asked for every second while the page is looked at; what is on the screen stays
// there when the user signs out, since that is when a phone rings.
import { addPhone, clearPhone, readPhone, removePhone } from "./cluster.js";
import { fact, showProblem } from "./list-parts.js";

const POLL_MS = 1_000;

/**
 * @param {{ card: HTMLElement, title: HTMLElement, note: HTMLElement, add: HTMLButtonElement, remove: HTMLButtonElement,
 *   clear: HTMLButtonElement, problem: HTMLElement, screen: HTMLElement }} parts
 * @returns {{ offer(isThere: boolean): void, show(userId: string): void }}
 */
export function createPhone({ card, title, note, add, remove, clear, problem, screen }) {
  const list = screen.querySelector(".phone-list");
  const badge = screen.querySelector(".phone-badge");
  let user;
  let shown = "";

  function render({ registered, badge: count, notifications }) {
    const state = registered || notifications.length > 0 ? "on" : "none";
    screen.dataset.state = state;
    add.hidden = registered;
    remove.hidden = !registered;
    clear.hidden = notifications.length === 0;
    badge.hidden = count === 0;
    badge.textContent = String(count);
    note.textContent = registered
      ? `Quiet. Sign out, send ${user} something, and it comes here.`
      : `${user} has no phone yet.`;
    note.hidden = notifications.length > 0;
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

  async function refresh() {
    const asked = user;
    if (asked === undefined || card.hidden || document.hidden) return;
    try {
      const phone = await readPhone(asked);
      if (asked !== user) return;
      render(phone);
      showProblem(problem, "");
    } catch (error) {
      if (asked === user) showProblem(problem, error.message);
    }
  }

  async function poll() {
    showClock(screen);
    await refresh();
    setTimeout(poll, POLL_MS);
  }

  function onClick(button, change) {
    button.addEventListener("click", async () => {
      if (user === undefined) return;
      button.disabled = true;
      try {
        await change(user);
        showProblem(problem, "");
        await refresh();
      } catch (error) {
        showProblem(problem, error.message);
      } finally {
        button.disabled = false;
      }
    });
  }

  onClick(add, addPhone);
  onClick(remove, removePhone);
  onClick(clear, clearPhone);
  for (const button of [add, remove, clear]) button.hidden = true;
  note.textContent = "Sign in, to see that user's phone.";
  void poll();

  return {
    offer(isThere) {
      card.hidden = !isThere;
      void refresh();
    },
    show(userId) {
      user = userId;
      title.textContent = `${userId}'s phone`;
      void refresh();
    },
  };
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
