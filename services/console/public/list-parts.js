// The small pieces that both lists are made of.
// Guarantees: text goes in as text.

export function fact(className, text) {
  const span = document.createElement("span");
  span.className = className;
  span.textContent = text;
  return span;
}

/** @param {string} at RFC 3339 */
export function time(at) {
  const element = document.createElement("time");
  element.dateTime = at;
  element.title = at;
  const date = new Date(at);
  element.textContent = Number.isNaN(date.getTime())
    ? at
    : date.toLocaleTimeString(undefined, { hour12: false });
  return element;
}

/** Longer data is indented over several lines. */
const ONE_LINE = 80;

export function payload(data) {
  const pre = document.createElement("pre");
  pre.className = "payload";
  const line = JSON.stringify(data);
  pre.textContent = line.length <= ONE_LINE ? line : JSON.stringify(data, null, 2);
  return pre;
}

/** Shows a problem under a form, or takes it away. */
export function showProblem(element, text) {
  element.textContent = text;
  element.hidden = text === "";
}
