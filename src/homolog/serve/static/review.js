// Labels looked at one doubtful point after the other; the server writes every step down.

import { ask, attempt, toast } from "./common.js";
import { arrow, Panel } from "./panel.js";

const $ = (id) => document.getElementById(id);

const CLOSE = 0.6; // of the thing's longer side is shown around a point
const COLOUR = { now: "#e8590c", doubtful: "#e8b00c", sure: "#2f6fed" };

export class Review {
  constructor() {
    this.panel = new Panel($("review-stage"), {
      pick: (point) => this.#move(point, true),
      step: (step) => this.#step(step),
      resize: () => this.#zoom(this.close),
      draw: (context) => this.#draw(context),
    }, { wheel: true });
    Object.assign(this, { now: null, close: true, images: new Map(), pending: 0, saving: Promise.resolve() });
    $("accept").addEventListener("click", () => this.#accept());
    $("hide").addEventListener("click", () => this.#hide());
    $("next").addEventListener("click", () => this.#go(1));
    $("previous").addEventListener("click", () => this.#go(-1));
    $("whole").addEventListener("click", () => this.#zoom(!this.close));
    $("filter").addEventListener("change", () => {
      this.now = null;
      this.#go(1);
      $("filter").blur();
    });
  }

  async load() {
    const state = await (await ask("/api/review")).json();
    this.categories = new Map(state.categories.map((category) => [category.id, category]));
    this.pictures = new Map(state.images.map((image) => [image.id, image]));
    this.annotations = new Map(state.annotations.map((annotation) => [annotation.id, annotation]));
    Object.assign(this, { doubtful: state.doubtful, total: state.total, exemplars: state.exemplars, file: state.file });
    this.#filters();
    if (this.now) this.#select(this.now);
    else this.#go(1);
  }

  /** A key that nothing else has taken. */
  key(event) {
    const work = {
      n: () => this.#go(1), p: () => this.#go(-1), v: () => this.#hide(), z: () => this.#zoom(!this.close),
      s: () => { $("saved").textContent = "Every step is saved at once."; },
    }[event.key];
    const button = event.target.closest("button:not(.pin)"), step = arrow(event);
    if (event.defaultPrevented) return;
    if (work) work();
    else if (step && this.#step(step)) event.preventDefault();
    else if ((event.key === "Enter" || event.key === " ") && !button) {
      event.preventDefault();
      this.#accept();
    }
  }

  // Which point.

  #name([id, keypoint]) {
    const category = this.categories.get(this.annotations.get(id).category_id);
    return category.keypoints[keypoint] ?? String(keypoint + 1);
  }

  #wanted() {
    const only = $("filter").value;
    return only ? this.doubtful.filter((each) => this.#name(each) === only) : this.doubtful;
  }

  #filters() {
    const counts = new Map();
    for (const each of this.doubtful) counts.set(this.#name(each), (counts.get(this.#name(each)) ?? 0) + 1);
    const chosen = $("filter").value;
    const options = [["", `all points (${this.doubtful.length})`], ...[...counts].map(([name, count]) => [name, `${name} (${count})`])];
    if (chosen && !counts.has(chosen)) options.push([chosen, `${chosen} (0)`]);
    $("filter").replaceChildren(...options.map(([value, text]) => new Option(text, value)));
    $("filter").value = chosen;
  }

  #order([id, keypoint]) {
    return this.place.get(id) * 1000 + keypoint;
  }

  #go(direction) {
    this.place ??= new Map([...this.annotations.keys()].map((id, i) => [id, i]));
    const wanted = this.#wanted();
    if (wanted.length === 0) return this.#select(null);
    const here = this.now ? this.#order(this.now) : -1;
    const ahead = direction > 0
      ? wanted.find((each) => this.#order(each) > here)
      : wanted.findLast((each) => this.#order(each) < here);
    return this.#select(ahead ?? (direction > 0 ? wanted[0] : wanted.at(-1)));
  }

  #select(now) {
    if (this.unsaved) this.#save({ point: this.unsaved, visible: true });
    const before = this.now && this.annotations.get(this.now[0]).image_id;
    this.now = now;
    for (const key of [...this.panel.pins.keys()]) this.panel.unpin(key);
    if (now) {
      const image = this.pictures.get(this.annotations.get(now[0]).image_id);
      attempt(() => this.#showPicture(image, before));
    } else {
      this.panel.show(null);
    }
    this.#tell();
  }

  async #showPicture(image, before) {
    if (!image.picture) {
      this.panel.show(null);
      throw new Error(`${image.name} is not in the folder of pictures`);
    }
    if (!this.images.has(image.id)) {
      this.images.set(image.id, await (await ask(`/api/pictures/${image.picture}/size`)).json());
    }
    if (!this.now || this.annotations.get(this.now[0]).image_id !== image.id) return;
    if (before !== image.id || !this.panel.picture) {
      this.panel.show({ ...this.images.get(image.id), address: `/api/pictures/${image.picture}/image` });
    }
    this.#zoom(this.close);
    this.#pins();
    this.#prefetch();
  }

  /** The next picture is fetched while this one is looked at. */
  #prefetch() {
    const here = this.annotations.get(this.now[0]).image_id;
    const next = this.#wanted().find((each) => this.#order(each) > this.#order(this.now)
      && this.annotations.get(each[0]).image_id !== here);
    const image = next && this.pictures.get(this.annotations.get(next[0]).image_id);
    if (image?.picture) new Image().src = `/api/pictures/${image.picture}/image`;
  }

  // What is shown.

  #keypoint(keypoint, annotation = this.annotations.get(this.now[0])) {
    const [x, y, v] = annotation.keypoints.slice(3 * keypoint, 3 * keypoint + 3);
    if (v > 0) return { point: [x, y], visible: true };
    const [px, py, pv] = annotation.homolog?.predicted.slice(3 * keypoint, 3 * keypoint + 3) ?? [0, 0, 0];
    return { point: pv > 0 ? [px, py] : null, visible: false };
  }

  #isDoubtful(keypoint) {
    const { doubtful = [], reviewed = [] } = this.annotations.get(this.now[0]).homolog ?? {};
    return doubtful.includes(keypoint) && !reviewed.includes(keypoint);
  }

  #pins() {
    const annotation = this.annotations.get(this.now[0]);
    const category = this.categories.get(annotation.category_id);
    const seen = new Set();
    category.keypoints.forEach((name, keypoint) => {
      const { point, visible } = this.#keypoint(keypoint);
      const current = keypoint === this.now[1];
      if (!point || !(visible || current)) return;
      const key = `${this.now[0]} ${keypoint}`, doubtful = this.#isDoubtful(keypoint);
      const score = annotation.homolog?.scores?.[keypoint];
      seen.add(key);
      const button = this.panel.pin(key, {
        point,
        text: "",
        title: name,
        colour: COLOUR[current ? "now" : doubtful ? "doubtful" : "sure"],
        classes: `small ${current ? "current" : ""} ${visible ? "" : "unseen"}`,
        label: `${name}, x ${Math.round(point[0])}, y ${Math.round(point[1])}${score === undefined || score === null ? "" : `, score ${score.toFixed(2)}`}${doubtful ? ", doubtful" : ""}`,
        moved: (to, done) => {
          if (keypoint !== this.now[1]) this.#select([this.now[0], keypoint]);
          this.#move(to, done);
        },
      });
      button.onclick = () => {
        if (this.now[1] !== keypoint) this.#select([this.now[0], keypoint]);
      };
    });
    for (const key of [...this.panel.pins.keys()]) if (!seen.has(key)) this.panel.unpin(key);
    this.panel.redraw();
  }

  #draw(context) {
    if (!this.now) return;
    const annotation = this.annotations.get(this.now[0]);
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
    if (!this.now || !this.panel.picture) return;
    const { point } = this.#keypoint(this.now[1]);
    if (!close || !point) {
      this.panel.fit();
      return;
    }
    const [, , width, height] = this.annotations.get(this.now[0]).bbox;
    const side = Math.max(CLOSE * Math.max(width, height), 24);
    this.panel.zoom([point[0] - side / 2, point[1] - side / 2, side, side]);
  }

  #tell() {
    const left = this.doubtful.length, { total } = this;
    $("left").textContent = left ? `${left} of ${total}` : "Nothing is doubtful";
    $("left-of").textContent = left ? "doubtful points left" : total ? "any more. All looked at." : "in this file.";
    $("progress").value = total ? 1 - left / total : 1;
    for (const id of ["accept", "hide", "next", "previous", "whole"]) $(id).disabled = !this.now;
    $("point").hidden = !this.now;
    if (!this.now) return;
    const [id, keypoint] = this.now, annotation = this.annotations.get(id);
    const { visible } = this.#keypoint(keypoint);
    const score = annotation.homolog?.scores?.[keypoint];
    $("point-name").textContent = this.#name(this.now).replaceAll("_", " ");
    const facts = [this.pictures.get(annotation.image_id).name];
    if (score !== undefined && score !== null) facts.push(`score ${score.toFixed(2)}`);
    if (annotation.homolog?.reviewed.includes(keypoint)) facts.push("looked at");
    if (!visible) facts.push("not visible");
    $("point-facts").textContent = facts.join(" · ");
    $("hide").firstChild.textContent = visible ? "Not visible " : "Visible ";
    this.#exemplar(this.categories.get(annotation.category_id).name, this.#name(this.now));
  }

  #exemplar(category, name) {
    const found = this.exemplars[category]?.[name], canvas = $("exemplar");
    canvas.hidden = $("exemplar-note").hidden = !found;
    if (!found) return;
    const image = new Image();
    image.src = `/api/pictures/${found.picture}/image`;
    canvas.setAttribute("aria-label", `Example of ${name}`);
    $("exemplar-note").textContent = "as labelled by hand";
    attempt(async () => {
      const size = await (await ask(`/api/pictures/${found.picture}/size`)).json();
      await image.decode();
      if (!this.now || this.#name(this.now) !== name) return;
      const scale = image.naturalWidth / size.width;
      const side = Math.max(CLOSE * Math.max(found.box[2], found.box[3]), 24);
      const [x, y] = found.point, context = canvas.getContext("2d");
      context.clearRect(0, 0, canvas.width, canvas.height);
      context.drawImage(image, (x - side / 2) * scale, (y - side / 2) * scale, side * scale, side * scale, 0, 0, canvas.width, canvas.height);
      for (const [width, colour] of [[5, "#fff"], [2.5, COLOUR.now]]) {
        context.lineWidth = width;
        context.strokeStyle = colour;
        context.beginPath();
        context.arc(canvas.width / 2, canvas.height / 2, 9, 0, 2 * Math.PI);
        context.stroke();
      }
    });
  }

  // What is done.

  #keypoints() {
    return this.annotations.get(this.now[0]).keypoints;
  }

  #put(point) {
    this.#keypoints().splice(3 * this.now[1], 3, ...point, 2);
  }

  #move(point, done) {
    if (!this.now) return;
    this.#put(point);
    this.#pins();
    if (done) this.#save({ point, visible: true });
  }

  #step([dx, dy]) {
    const { point } = this.now ? this.#keypoint(this.now[1]) : {};
    if (!point) return false;
    const to = this.panel.within([point[0] + dx, point[1] + dy]);
    this.#put(to);
    this.#pins();
    // A row of steps is one correction.
    clearTimeout(this.later);
    const { now } = this;
    this.unsaved = to;
    this.later = setTimeout(() => this.#save({ point: to, visible: true }, now), 300);
    return true;
  }

  #accept() {
    if (!this.now) return;
    const { visible } = this.#keypoint(this.now[1]);
    this.#save({ point: this.unsaved ?? null, visible });
    this.#go(1);
  }

  #hide() {
    if (!this.now) return;
    const { visible, point } = this.#keypoint(this.now[1]);
    if (!visible && !point) {
      toast("Click where it is");
      return;
    }
    if (visible) this.#keypoints().splice(3 * this.now[1], 3, 0, 0, 0);
    else this.#put(point);
    this.#save({ point: null, visible: !visible });
    this.#pins();
  }

  /** Nobody waits for it: what is shown goes ahead, and is put right if saving fails. */
  #save(correction, [annotation, keypoint] = this.now) {
    clearTimeout(this.later);
    this.unsaved = null;
    this.annotations.get(annotation).homolog?.reviewed.push(keypoint);
    this.doubtful = this.doubtful.filter(([id, each]) => id !== annotation || each !== keypoint);
    this.#filters();
    this.#tell();
    this.pending += 1;
    $("saved").textContent = "Saving…";
    this.saving = this.saving.then(() => attempt(() => this.#write({ annotation, keypoint, ...correction })));
  }

  async #write(step) {
    try {
      const headers = { "content-type": "application/json" };
      const answer = await ask("/api/review", { method: "POST", headers, body: JSON.stringify(step) });
      const state = await answer.json();
      this.pending -= 1;
      if (this.pending > 0) return; // a later answer knows more
      this.annotations.set(step.annotation, state.annotation);
      this.doubtful = state.doubtful;
      $("saved").textContent = `Saved in ${this.file}`;
      this.#filters();
      if (this.now) this.#pins();
      this.#tell();
    } catch (error) {
      this.pending -= 1;
      $("saved").textContent = "Not saved";
      attempt(() => this.load());
      throw error;
    }
  }
}
