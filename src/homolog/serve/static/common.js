// Shared by all parts of the page: requests to the server, and messages to the user.

const $ = (id) => document.getElementById(id);

/** Send a request to the server; the one line that explains an error becomes its message. */
export async function request(path, options) {
  let answer;
  try {
    answer = await fetch(path, { credentials: "same-origin", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server does not answer. Is homolog serve still running?");
  }
  if (!answer.ok) {
    const body = await answer.json().catch(() => ({}));
    throw new Error(body.detail ?? `The server answered ${answer.status}`);
  }
  return answer;
}

let hiding;

/** Show a message for a few seconds. */
export function toast(message) {
  const box = $("toast");
  box.textContent = message;
  box.hidden = false;
  clearTimeout(hiding);
  hiding = setTimeout(() => { box.hidden = true; }, 6000);
}

/** Run a function; the message of an error is shown. */
export async function attempt(work) {
  try {
    return await work();
  } catch (error) {
    if (error.name !== "AbortError") toast(error.message);
    return undefined;
  }
}

/** Whether a key press is meant for the focused element, or for the system, and not for the page. */
export function isTaken(event) {
  return event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")
    || event.target.matches("input, select, textarea");
}

/** Whether a key press with Ctrl is meant for the page, and not for a field of text. */
export function isShortcut(event) {
  return (event.ctrlKey || event.metaKey) && !event.altKey && !document.querySelector("dialog[open]")
    && !event.target.matches("input, select, textarea");
}
