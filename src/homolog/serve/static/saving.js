// Changes of labels, sent to the server one after the other.

import { attempt, request } from "./common.js";

const PAUSE = 300; // milliseconds after which a change that may go on is saved

export class Saving {
  /**
   * @param {HTMLElement} status says whether all is saved
   * @param {Function} failed called when a change could not be saved
   */
  constructor(status, failed) {
    Object.assign(this, { status, failed, file: "", pending: 0, queue: Promise.resolve(), unsaved: null });
  }

  /** Save after a moment, unless more of the same comes first. */
  delay(save) {
    clearTimeout(this.timer);
    this.unsaved = save;
    this.timer = setTimeout(() => this.flush(), PAUSE);
  }

  /** Save what waits to be saved. */
  flush() {
    clearTimeout(this.timer);
    const save = this.unsaved;
    this.unsaved = null;
    save?.();
  }

  /**
   * Send a change when its turn has come.
   *
   * @param {string} path below `/api/review`
   * @param {object} options method and body, which becomes JSON; or a function that returns it by then
   * @param {Function} then called with the server's answer, and whether nothing else is to be sent
   */
  send(path, { method = "POST", body }, then) {
    this.flush();
    this.pending += 1;
    this.status.textContent = "Saving…";
    this.queue = this.queue.then(() => attempt(async () => {
      try {
        const headers = { "content-type": "application/json" };
        const content = typeof body === "function" ? body() : body;
        const answer = await request(`/api/review${path}`, { method, headers, body: content && JSON.stringify(content) });
        const state = await answer.json();
        this.pending -= 1;
        if (this.pending === 0) this.status.textContent = `Saved in ${this.file}`;
        then(state, this.pending === 0);
      } catch (error) {
        this.pending -= 1;
        this.status.textContent = "Not saved";
        this.failed();
        throw error;
      }
    }));
  }
}
