// The form that sends a message.
// Guarantees: what is not JSON is not sent; a message is listed as sent when collect has accepted it.
import { sendMessage } from "./cluster.js";
import { showProblem } from "./list-parts.js";

export function createSender({ form, to, data, title, body, fallback, button, problem, sent }) {
  async function send() {
    let value;
    try {
      value = JSON.parse(data.value);
    } catch (error) {
      showProblem(problem, `The data is not JSON: ${error.message}`);
      data.focus();
      return;
    }
    showProblem(problem, "");
    button.disabled = true;
    try {
      const { id } = await sendMessage({
        to: { user: to.value },
        data: value,
        fallback: fallback.value,
        ...(title.value === "" ? {} : { notification: { title: title.value, body: body.value } }),
      });
      sent.add({ id, to: to.value });
    } catch (error) {
      showProblem(problem, error.message);
    } finally {
      button.disabled = false;
    }
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void send();
  });
}
