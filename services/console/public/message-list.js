// The list of messages that have arrived, the newest on top.
// Guarantees: data is shown as text, never as markup; the list holds the newest few hundred.
import { fact, payload, time } from "./list-parts.js";

const SHOWN = 300;

/**
 * @param {{ list: HTMLElement, count: HTMLElement }} parts
 * @returns {{ add(message: { id: string, seq: number, at: string, data: unknown }): void, clear(): void }}
 */
export function createMessageList({ list, count }) {
  let total = 0;
  return {
    add({ id, seq, at, data }) {
      const item = document.createElement("li");
      item.dataset.id = id;
      item.dataset.seq = String(seq);
      const facts = document.createElement("div");
      facts.className = "facts";
      facts.append(fact("seq", `#${seq}`), fact("id", id), time(at));
      item.append(facts, payload(data));
      list.prepend(item);
      while (list.childElementCount > SHOWN) list.lastElementChild.remove();
      count.textContent = String(++total);
    },
    clear() {
      list.replaceChildren();
      total = 0;
      count.textContent = "0";
    },
  };
}
