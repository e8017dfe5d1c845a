// The browser: what the pretend browser of the signed-in user shows while its page is closed, as the Web Push simulator
// has it.
// Guarantees: text goes in as text; asked for every second while the page is looked at; what is shown stays when the user
// signs out, since that is when a push comes.
import { addBrowser, readBrowser, removeBrowser } from "./cluster.js";
import { fact, showProblem } from "./list-parts.js";

const POLL_MS = 1_000;

/**
 * @param {{ card: HTMLElement, title: HTMLElement, note: HTMLElement, add: HTMLButtonElement, remove: HTMLButtonElement,
 *   problem: HTMLElement, list: HTMLElement }} parts
 * @returns {{ offer(isThere: boolean): void, show(userId: string): void }}
 */
export function createBrowser({ card, title, note, add, remove, problem, list }) {
  let user;
  let shown = "";

  function render({ registered, notifications }) {
    add.hidden = registered;
    remove.hidden = !registered;
    note.textContent = registered
      ? `Quiet. Sign out, send ${user} something, and it comes here.`
      : `${user} has not subscribed yet.`;
    note.hidden = notifications.length > 0;
    const now = JSON.stringify(notifications);
    if (now === shown) return;
    shown = now;
    list.replaceChildren(...notifications.toReversed().map(notificationItem));
  }

  async function refresh() {
    const asked = user;
    if (asked === undefined || card.hidden || document.hidden) return;
    try {
      const browser = await readBrowser(asked);
      if (asked !== user) return;
      render(browser);
      showProblem(problem, "");
    } catch (error) {
      if (asked === user) showProblem(problem, error.message);
    }
  }

  async function poll() {
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

  onClick(add, addBrowser);
  onClick(remove, removeBrowser);
  for (const button of [add, remove]) button.hidden = true;
  note.textContent = "Sign in, to see that user's browser.";
  void poll();

  return {
    offer(isThere) {
      card.hidden = !isThere;
      void refresh();
    },
    show(userId) {
      user = userId;
      title.textContent = `${userId}'s browser, the page closed`;
      void refresh();
    },
  };
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
