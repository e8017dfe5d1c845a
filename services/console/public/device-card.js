// phone, browser -> here: the card of a pretend device of the signed-in user.
// Guarantees: asked for every second while the page is looked at; what is shown stays there when the user signs out, since
// that is when a phone rings.
import { showProblem } from "./list-parts.js";

const POLL_MS = 1_000;

/**
 * @param {{ card: HTMLElement, title: HTMLElement, note: HTMLElement, add: HTMLButtonElement, remove: HTMLButtonElement,
 *   problem: HTMLElement }} parts
 * @param {{ name: string, titleOf(userId: string): string, noneYet(userId: string): string,
 *   read(userId: string): Promise<object>, changes: [HTMLButtonElement, (userId: string) => Promise<void>][],
 *   render(shown: object): void, tick?(): void }} device `render` gets what `read` answers
 * @returns {{ offer(isThere: boolean): void, show(userId: string): void }}
 */
export function createDeviceCard({ card, title, note, add, remove, problem }, device) {
  let user;

  function render(shown) {
    const { registered, notifications } = shown;
    add.hidden = registered;
    remove.hidden = !registered;
    note.textContent = registered
      ? `Quiet. Sign out, send ${user} something, and it comes here.`
      : device.noneYet(user);
    note.hidden = notifications.length > 0;
    device.render(shown);
  }

  async function refresh() {
    const asked = user;
    if (asked === undefined || card.hidden || document.hidden) return;
    try {
      const shown = await device.read(asked);
      if (asked !== user) return;
      render(shown);
      showProblem(problem, "");
    } catch (error) {
      if (asked === user) showProblem(problem, error.message);
    }
  }

  async function poll() {
    device.tick?.();
    await refresh();
    setTimeout(poll, POLL_MS);
  }

  async function apply(button, change) {
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
  }

  for (const [button, change] of device.changes) {
    button.hidden = true;
    button.addEventListener("click", () => void apply(button, change));
  }
  note.textContent = `Sign in, to see that user's ${device.name}.`;
  void poll();

  return {
    offer(isThere) {
      card.hidden = !isThere;
      void refresh();
    },
    show(userId) {
      user = userId;
      title.textContent = device.titleOf(userId);
      void refresh();
    },
  };
}
