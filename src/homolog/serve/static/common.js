// What all parts of the page share: the server, and what is said in passing.

const $ = (id) => document.getElementById(id);

/** Ask the server; its one line of explanation becomes the error's message. */
export async function ask(path, options) {
  let answer;
  try {
    answer = await fetch(path, { credentials: "same-origin", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server does not answer. Is homolog serve still running?");
  }
  if (!answer.ok) {
    const told = await answer.json().catch(() => ({}));
    throw new Error(told.detail ?? `The server answered ${answer.status}`);
  }
  return answer;
}

let fading;

/** Say something in passing. */
export function toast(message) {
  const box = $("toast");
  box.textContent = message;
  box.hidden = false;
  clearTimeout(fading);
  fading = setTimeout(() => { box.hidden = true; }, 6000);
}

/** Run something; what goes wrong is said. */
export async function attempt(work) {
  try {
    return await work();
  } catch (error) {
    if (error.name !== "AbortError") toast(error.message);
    return undefined;
  }
}

/** Whether a key is meant for what has the focus, and not for the page. */
export function taken(event) {
  return event.ctrlKey || event.metaKey || event.altKey || $("keys").open
    || event.target.matches("input, select, textarea");
}
