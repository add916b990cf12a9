// Review of labels, one doubtful point after the other; the server saves every correction.

import { attempt, request, toast } from "./common.js";
import { arrowStep, Panel } from "./panel.js";

const $ = (id) => document.getElementById(id);

const CLOSE_UP = 0.6; // shown around a point, as a share of the longer edge of the object's box
const COLOUR = { current: "#e8590c", doubtful: "#e8b00c", accepted: "#2f6fed" };

export class Review {
  constructor() {
    this.panel = new Panel($("review-stage"), {
      pick: (point) => this.#move(point, true),
      step: (step) => this.#step(step),
      resize: () => this.#zoom(this.close),
      draw: (context) => this.#draw(context),
    }, { wheel: true });
    Object.assign(this, { current: null, close: true, sizes: new Map(), pending: 0, saving: Promise.resolve() });
    $("accept").addEventListener("click", () => this.#accept());
    $("hide").addEventListener("click", () => this.#toggleVisible());
    $("next").addEventListener("click", () => this.#advance(1));
    $("previous").addEventListener("click", () => this.#advance(-1));
    $("whole").addEventListener("click", () => this.#zoom(!this.close));
    $("filter").addEventListener("change", () => {
      this.current = null;
      this.#advance(1);
      $("filter").blur();
    });
  }

  async load() {
    const state = await (await request("/api/review")).json();
    this.categories = new Map(state.categories.map((category) => [category.id, category]));
    this.images = new Map(state.images.map((image) => [image.id, image]));
    this.annotations = new Map(state.annotations.map((annotation) => [annotation.id, annotation]));
    Object.assign(this, { doubtful: state.doubtful, total: state.total, exemplars: state.exemplars, file: state.file });
    this.#showFilter();
    if (this.current) this.#select(this.current);
    else this.#advance(1);
  }

  /** Handle a key press that is meant for the page. */
  key(event) {
    const action = {
      n: () => this.#advance(1), p: () => this.#advance(-1), v: () => this.#toggleVisible(), z: () => this.#zoom(!this.close),
      s: () => { $("saved").textContent = "Every correction is saved at once."; },
    }[event.key];
    const button = event.target.closest("button:not(.pin)"), step = arrowStep(event);
    if (event.defaultPrevented) return;
    if (action) action();
    else if (step && this.#step(step)) event.preventDefault();
    else if ((event.key === "Enter" || event.key === " ") && !button) {
      event.preventDefault();
      this.#accept();
    }
  }

  // The point under review.

  #name([id, keypoint]) {
    const category = this.categories.get(this.annotations.get(id).category_id);
    return category.keypoints[keypoint] ?? String(keypoint + 1);
  }

  #filtered() {
    const only = $("filter").value;
    return only ? this.doubtful.filter((each) => this.#name(each) === only) : this.doubtful;
  }

  #showFilter() {
    const counts = new Map();
    for (const each of this.doubtful) counts.set(this.#name(each), (counts.get(this.#name(each)) ?? 0) + 1);
    const chosen = $("filter").value;
    const options = [["", `all points (${this.doubtful.length})`], ...[...counts].map(([name, count]) => [name, `${name} (${count})`])];
    if (chosen && !counts.has(chosen)) options.push([chosen, `${chosen} (0)`]);
    $("filter").replaceChildren(...options.map(([value, text]) => new Option(text, value)));
    $("filter").value = chosen;
  }

  #position([id, keypoint]) {
    return this.order.get(id) * 1000 + keypoint;
  }

  #advance(direction) {
    this.order ??= new Map([...this.annotations.keys()].map((id, i) => [id, i]));
    const filtered = this.#filtered();
    if (filtered.length === 0) return this.#select(null);
    const here = this.current ? this.#position(this.current) : -1;
    const ahead = direction > 0
      ? filtered.find((each) => this.#position(each) > here)
      : filtered.findLast((each) => this.#position(each) < here);
    return this.#select(ahead ?? (direction > 0 ? filtered[0] : filtered.at(-1)));
  }

  #select(current) {
    if (this.unsaved) this.#save({ point: this.unsaved, visible: true });
    const before = this.current && this.annotations.get(this.current[0]).image_id;
    this.current = current;
    for (const key of [...this.panel.pins.keys()]) this.panel.unpin(key);
    if (current) {
      const image = this.images.get(this.annotations.get(current[0]).image_id);
      attempt(() => this.#showImage(image, before));
    } else {
      this.panel.show(null);
    }
    this.#showProgress();
  }

  async #showImage(image, before) {
    if (!image.picture) {
      this.panel.show(null);
      throw new Error(`${image.name} is not in the folder of images`);
    }
    if (!this.sizes.has(image.id)) {
      this.sizes.set(image.id, await (await request(`/api/pictures/${image.picture}/size`)).json());
    }
    if (!this.current || this.annotations.get(this.current[0]).image_id !== image.id) return;
    if (before !== image.id || !this.panel.image) {
      this.panel.show({ ...this.sizes.get(image.id), address: `/api/pictures/${image.picture}/image` });
    }
    this.#zoom(this.close);
    this.#showPins();
    this.#prefetch();
  }

  /** Fetch the next image while this one is reviewed. */
  #prefetch() {
    const here = this.annotations.get(this.current[0]).image_id;
    const next = this.#filtered().find((each) => this.#position(each) > this.#position(this.current)
      && this.annotations.get(each[0]).image_id !== here);
    const image = next && this.images.get(this.annotations.get(next[0]).image_id);
    if (image?.picture) new Image().src = `/api/pictures/${image.picture}/image`;
  }

  // What is shown.

  #keypoint(keypoint, annotation = this.annotations.get(this.current[0])) {
    const [x, y, v] = annotation.keypoints.slice(3 * keypoint, 3 * keypoint + 3);
    if (v > 0) return { point: [x, y], visible: true };
    const [px, py, pv] = annotation.homolog?.predicted.slice(3 * keypoint, 3 * keypoint + 3) ?? [0, 0, 0];
    return { point: pv > 0 ? [px, py] : null, visible: false };
  }

  #isDoubtful(keypoint) {
    const { doubtful = [], reviewed = [] } = this.annotations.get(this.current[0]).homolog ?? {};
    return doubtful.includes(keypoint) && !reviewed.includes(keypoint);
  }

  #showPins() {
    const annotation = this.annotations.get(this.current[0]);
    const category = this.categories.get(annotation.category_id);
    const seen = new Set();
    category.keypoints.forEach((name, keypoint) => {
      const { point, visible } = this.#keypoint(keypoint);
      const current = keypoint === this.current[1];
      if (!point || !(visible || current)) return;
      const key = `${this.current[0]} ${keypoint}`, doubtful = this.#isDoubtful(keypoint);
      const score = annotation.homolog?.scores?.[keypoint];
      seen.add(key);
      const button = this.panel.pin(key, {
        point,
        text: "",
        title: name,
        colour: COLOUR[current ? "current" : doubtful ? "doubtful" : "accepted"],
        classes: `small ${current ? "current" : ""} ${visible ? "" : "unseen"}`,
        label: `${name}, x ${Math.round(point[0])}, y ${Math.round(point[1])}${score === undefined || score === null ? "" : `, score ${score.toFixed(2)}`}${doubtful ? ", doubtful" : ""}`,
        moved: (to, done) => {
          if (keypoint !== this.current[1]) this.#select([this.current[0], keypoint]);
          this.#move(to, done);
        },
      });
      button.onclick = () => {
        if (this.current[1] !== keypoint) this.#select([this.current[0], keypoint]);
      };
    });
    for (const key of [...this.panel.pins.keys()]) if (!seen.has(key)) this.panel.unpin(key);
    this.panel.redraw();
  }

  #draw(context) {
    if (!this.current) return;
    const annotation = this.annotations.get(this.current[0]);
    const category = this.categories.get(annotation.category_id);
    for (const [width, colour] of [[4, "rgba(0, 0, 0, 0.35)"], [1.75, "rgba(255, 255, 255, 0.9)"]]) {
      context.lineWidth = width;
      context.strokeStyle = colour;
      context.beginPath();
      for (const [a, b] of category.skeleton ?? []) {
        const ends = [a, b].map((number) => this.#keypoint(number - 1));
        if (!ends.every(({ visible }) => visible)) continue;
        context.moveTo(...this.panel.toStage(ends[0].point));
        context.lineTo(...this.panel.toStage(ends[1].point));
      }
      context.stroke();
    }
  }

  #zoom(close) {
    this.close = close;
    $("whole").setAttribute("aria-pressed", !close);
    if (!this.current || !this.panel.image) return;
    const { point } = this.#keypoint(this.current[1]);
    if (!close || !point) {
      this.panel.fit();
      return;
    }
    const [, , width, height] = this.annotations.get(this.current[0]).bbox;
    const size = Math.max(CLOSE_UP * Math.max(width, height), 24);
    this.panel.zoom([point[0] - size / 2, point[1] - size / 2, size, size]);
  }

  #showProgress() {
    const left = this.doubtful.length, { total } = this;
    $("left").textContent = left ? `${left} of ${total}` : "Nothing is doubtful";
    $("left-of").textContent = left ? "doubtful points left" : total ? "any more. All are reviewed." : "in this file.";
    $("progress").value = total ? 1 - left / total : 1;
    for (const id of ["accept", "hide", "next", "previous", "whole"]) $(id).disabled = !this.current;
    $("point").hidden = !this.current;
    if (!this.current) return;
    const [id, keypoint] = this.current, annotation = this.annotations.get(id);
    const { visible } = this.#keypoint(keypoint);
    const score = annotation.homolog?.scores?.[keypoint];
    $("point-name").textContent = this.#name(this.current).replaceAll("_", " ");
    const facts = [this.images.get(annotation.image_id).name];
    if (score !== undefined && score !== null) facts.push(`score ${score.toFixed(2)}`);
    if (annotation.homolog?.reviewed.includes(keypoint)) facts.push("reviewed");
    if (!visible) facts.push("not visible");
    $("point-facts").textContent = facts.join(" · ");
    $("hide").firstChild.textContent = visible ? "Not visible " : "Visible ";
    this.#showExemplar(this.categories.get(annotation.category_id).name, this.#name(this.current));
  }

  #showExemplar(category, name) {
    const found = this.exemplars[category]?.[name], canvas = $("exemplar");
    canvas.hidden = $("exemplar-note").hidden = !found;
    if (!found) return;
    const image = new Image();
    image.src = `/api/pictures/${found.picture}/image`;
    canvas.setAttribute("aria-label", `Example of ${name}`);
    $("exemplar-note").textContent = "as labelled by hand";
    attempt(async () => {
      const { width } = await (await request(`/api/pictures/${found.picture}/size`)).json();
      await image.decode();
      if (!this.current || this.#name(this.current) !== name) return;
      const scale = image.naturalWidth / width;
      const size = Math.max(CLOSE_UP * Math.max(found.box[2], found.box[3]), 24);
      const [x, y] = found.point, context = canvas.getContext("2d");
      context.clearRect(0, 0, canvas.width, canvas.height);
      context.drawImage(image, (x - size / 2) * scale, (y - size / 2) * scale, size * scale, size * scale, 0, 0, canvas.width, canvas.height);
      for (const [width, colour] of [[5, "#fff"], [2.5, COLOUR.current]]) {
        context.lineWidth = width;
        context.strokeStyle = colour;
        context.beginPath();
        context.arc(canvas.width / 2, canvas.height / 2, 9, 0, 2 * Math.PI);
        context.stroke();
      }
    });
  }

  // Corrections.

  #keypoints() {
    return this.annotations.get(this.current[0]).keypoints;
  }

  #setPoint(point) {
    this.#keypoints().splice(3 * this.current[1], 3, ...point, 2);
  }

  #move(point, done) {
    if (!this.current) return;
    this.#setPoint(point);
    this.#showPins();
    if (done) this.#save({ point, visible: true });
  }

  #step([dx, dy]) {
    const { point } = this.current ? this.#keypoint(this.current[1]) : {};
    if (!point) return false;
    const to = this.panel.within([point[0] + dx, point[1] + dy]);
    this.#setPoint(to);
    this.#showPins();
    // Several steps in a row are one correction.
    clearTimeout(this.saveTimer);
    const { current } = this;
    this.unsaved = to;
    this.saveTimer = setTimeout(() => this.#save({ point: to, visible: true }, current), 300);
    return true;
  }

  #accept() {
    if (!this.current) return;
    const { visible } = this.#keypoint(this.current[1]);
    this.#save({ point: this.unsaved ?? null, visible });
    this.#advance(1);
  }

  #toggleVisible() {
    if (!this.current) return;
    const { visible, point } = this.#keypoint(this.current[1]);
    if (!visible && !point) {
      toast("Click where it is");
      return;
    }
    if (visible) this.#keypoints().splice(3 * this.current[1], 3, 0, 0, 0);
    else this.#setPoint(point);
    this.#save({ point: null, visible: !visible });
    this.#showPins();
  }

  /** Save in the background: the page shows the correction at once, and loads anew if that fails. */
  #save(correction, [annotation, keypoint] = this.current) {
    clearTimeout(this.saveTimer);
    this.unsaved = null;
    this.annotations.get(annotation).homolog?.reviewed.push(keypoint);
    this.doubtful = this.doubtful.filter(([id, each]) => id !== annotation || each !== keypoint);
    this.#showFilter();
    this.#showProgress();
    this.pending += 1;
    $("saved").textContent = "Saving…";
    this.saving = this.saving.then(() => attempt(() => this.#write({ annotation, keypoint, ...correction })));
  }

  async #write(correction) {
    try {
      const headers = { "content-type": "application/json" };
      const answer = await request("/api/review", { method: "POST", headers, body: JSON.stringify(correction) });
      const state = await answer.json();
      this.pending -= 1;
      if (this.pending > 0) return; // a later answer is newer
      this.annotations.set(correction.annotation, state.annotation);
      this.doubtful = state.doubtful;
      $("saved").textContent = `Saved in ${this.file}`;
      this.#showFilter();
      if (this.current) this.#showPins();
      this.#showProgress();
    } catch (error) {
      this.pending -= 1;
      $("saved").textContent = "Not saved";
      attempt(() => this.load());
      throw error;
    }
  }
}
