// Review of labels, one doubtful point after the other, object by object; the server saves every change.

import { attempt, request, toast } from "./common.js";
import { Doubtful } from "./doubtful.js";
import { drawExemplar } from "./exemplar.js";
import { instanceId, Instances, isDoubtful, keypointOf } from "./instances.js";
import { arrowStep, Panel } from "./panel.js";
import { Saving } from "./saving.js";

const $ = (id) => document.getElementById(id);

const CLOSE_UP = 0.6; // shown around a point, as a share of the longer edge of the object's box
const COLOUR = { current: "#e8590c", doubtful: "#e8b00c", accepted: "#2f6fed" };

export class Review {
  constructor() {
    this.panel = new Panel($("review-stage"), {
      pick: (point) => this.#move(point, true),
      step: (step) => this.#step(step),
      resize: () => this.#zoom(this.close),
      draw: (context) => this.instances.draw(context),
    }, { wheel: true });
    this.instances = new Instances(this.panel, {
      select: (id) => this.#selectInstance(id),
      add: (category, box) => this.#add(category, box),
      move: (id, box, done) => this.#moveBox(id, box, done),
      remove: (id) => this.#remove(id),
      restore: (id) => this.#change(`/deleted/${id}`),
    });
    this.doubtful = new Doubtful(() => {
      Object.assign(this, { instance: null, keypoint: null });
      this.#advance(1);
    });
    this.saving = new Saving($("saved"), () => attempt(() => this.load()));
    // The image, the annotation and the keypoint that are shown.
    Object.assign(this, { image: null, instance: null, keypoint: null });
    Object.assign(this, { close: true, sizes: new Map() });
    const buttons = {
      accept: () => this.#accept(), hide: () => this.#toggleVisible(), next: () => this.#advance(1),
      previous: () => this.#advance(-1), whole: () => this.#zoom(!this.close), draw: () => this.#startDrawing(),
      undo: () => this.#undo("undo"), redo: () => this.#undo("redo"),
      "previous-image": () => this.#stepImage(-1), "next-image": () => this.#stepImage(1),
    };
    for (const [id, action] of Object.entries(buttons)) $(id).addEventListener("click", action);
  }

  async load() {
    const state = await (await request("/api/review")).json();
    this.categories = new Map(state.categories.map((category) => [category.id, category]));
    this.images = new Map(state.images.map((image) => [image.id, image]));
    this.annotations = new Map(state.annotations.map((annotation) => [annotation.id, annotation]));
    this.exemplars = state.exemplars;
    this.saving.file = state.file;
    this.instances.setCategories(state.categories);
    this.#setProgress(state);
    if (this.annotations.has(this.instance)) this.#select(this.current, this.image, this.instance);
    else if (this.doubtful.count > 0) this.#advance(1);
    else this.#openImage([...this.images.values()].find(({ picture }) => picture)?.id ?? null);
  }

  /** The annotation and the keypoint under review; null if no keypoint is. */
  get current() {
    return this.keypoint === null ? null : [this.instance, this.keypoint];
  }

  /** Handle a key press that is meant for the page. */
  key(event) {
    const action = {
      n: () => this.#advance(1), p: () => this.#advance(-1), v: () => this.#toggleVisible(), z: () => this.#zoom(!this.close),
      i: () => this.#stepInstance(1), I: () => this.#stepInstance(-1), b: () => this.#startDrawing(),
      u: () => this.#undo("undo"), U: () => this.#undo("redo"),
      PageDown: () => this.#stepImage(1), PageUp: () => this.#stepImage(-1),
      Escape: () => this.instances.boxes.setDrawing(false),
      s: () => { $("saved").textContent = "Every change is saved at once."; },
    }[event.key];
    const button = event.target.closest("button:not(.pin)"), step = arrowStep(event);
    if (event.defaultPrevented) return;
    if (action) {
      action();
      if (event.key.startsWith("Page")) event.preventDefault();
    } else if (/^[1-9]$/.test(event.key)) {
      this.#selectInstance(this.instances.annotations[event.key - 1]?.id);
    } else if (step && this.#step(step)) {
      event.preventDefault();
    } else if ((event.key === "Enter" || event.key === " ") && !button) {
      event.preventDefault();
      this.#accept();
    }
  }

  /** Handle a key press with Ctrl: undo and redo. */
  shortcut(event) {
    const key = event.key.toLowerCase();
    if (key !== "z" && key !== "y") return;
    event.preventDefault();
    this.#undo(key === "y" || event.shiftKey ? "redo" : "undo");
  }

  // The point under review.

  /** Go to the next doubtful point, or the one before; without any, to the next of this object. */
  #advance(direction) {
    if (this.doubtful.count > 0) return this.#select(this.doubtful.next([this.instance, this.keypoint], direction));
    const count = (this.annotations.get(this.instance)?.keypoints.length ?? 0) / 3;
    if (count === 0) return undefined;
    const next = this.keypoint === null ? 0 : (this.keypoint + direction + count) % count;
    return this.#select([this.instance, next]);
  }

  /** Show a point, or else an annotation, or else an image alone; still: without moving the view. */
  #select(current, image = null, instance = null, { still = false } = {}) {
    this.saving.flush();
    const before = [this.image, this.instance];
    [this.instance, this.keypoint] = current ?? [instance, null];
    this.image = this.annotations.get(this.instance)?.image_id ?? image;
    if (this.image !== before[0] || this.instance !== before[1]) {
      for (const key of [...this.panel.pins.keys()]) this.panel.unpin(key);
    }
    if (this.image !== before[0]) this.instances.boxes.clear();
    this.#showProgress();
    if (this.image === null) this.panel.show(null);
    else attempt(() => this.#showImage(this.images.get(this.image), before[0], still));
  }

  async #showImage(image, before, still) {
    if (!image.picture) {
      this.panel.show(null);
      this.#showInstances();
      throw new Error(`${image.name} is not in the folder of images`);
    }
    if (!this.sizes.has(image.id)) {
      this.sizes.set(image.id, await (await request(`/api/pictures/${image.picture}/size`)).json());
    }
    if (this.image !== image.id) return;
    if (before !== image.id || !this.panel.image) {
      this.panel.show({ ...this.sizes.get(image.id), address: `/api/pictures/${image.picture}/image` });
    }
    this.#showInstances();
    if (!still || before !== image.id) this.#zoom(this.close);
    this.#showPins();
    this.#showProgress();
    this.#prefetch();
  }

  /** Fetch the next image while this one is reviewed. */
  #prefetch() {
    const image = this.current && this.images.get(this.doubtful.nextImage(this.current));
    if (image?.picture) new Image().src = `/api/pictures/${image.picture}/image`;
  }

  // Objects and images.

  /** Review an object: its first doubtful point, or without any, none until one is chosen. */
  #selectInstance(id, options) {
    const annotation = this.annotations.get(id);
    if (!annotation) return;
    const keypoint = annotation.homolog?.doubtful.find((each) => isDoubtful(annotation, each));
    this.#select(keypoint === undefined ? null : [id, keypoint], annotation.image_id, id, options);
  }

  #stepInstance(by) {
    this.#selectInstance(this.instances.step(by));
  }

  #openImage(id) {
    const here = [...this.annotations.values()].filter(({ image_id: image, iscrowd }) => image === id && iscrowd !== 1);
    const first = here.find(({ id: each }) => this.doubtful.points.some(([annotation]) => annotation === each)) ?? here[0];
    if (first) this.#selectInstance(first.id);
    else this.#select(null, id);
  }

  #stepImage(by) {
    const ids = [...this.images.keys()];
    if (ids.length > 0) this.#openImage(ids[(ids.indexOf(this.image) + by + ids.length) % ids.length]);
  }

  #showInstances() {
    const here = ({ image_id: image }) => image === this.image;
    this.instances.show([...this.annotations.values()].filter(here), this.deleted.filter(here), this.instance);
    this.panel.redraw();
  }

  #startDrawing() {
    const { boxes } = this.instances;
    if (this.close && !boxes.drawing) this.#zoom(false);
    boxes.setDrawing(!boxes.drawing);
  }

  #add(category, box) {
    this.#change("/instances", { body: { image: this.image, category, box } }, ({ id }) => {
      this.#selectInstance(id, { still: true });
    });
  }

  #moveBox(id, box, done) {
    this.annotations.get(id).bbox = box;
    this.instances.showBoxes();
    // Several steps in a row are one change.
    if (done) this.saving.delay(() => this.#change(`/instances/${id}`, { body: { box } }, () => {}));
  }

  #remove(id) {
    const name = instanceId(this.annotations.get(id)), next = this.instances.step(1);
    this.#change(`/instances/${id}`, { method: "DELETE" }, () => {
      toast(`Object ${name} is deleted. Undo brings it back.`);
      this.panel.stage.focus({ preventScroll: true });
      if (id !== this.instance) return;
      if (this.annotations.has(next)) this.#selectInstance(next, { still: true });
      else this.#select(null, this.image, null, { still: true });
    });
  }

  #undo(name) {
    this.saving.flush();
    this.saving.queue.then(() => {
      if (this.history[name]) this.#change(`/${name}`);
      else toast(`There is nothing to ${name}`);
    });
  }

  /** Change objects on the server, and show what has changed; then: called before it is shown. */
  #change(path, options = {}, then = null) {
    this.saving.send(path, options, (state) => {
      if (state.annotation) this.annotations.set(state.id, state.annotation);
      else this.annotations.delete(state.id);
      this.#setProgress(state);
      if (then) then(state);
      else if (state.annotation) this.#selectInstance(state.id, { still: state.annotation.image_id === this.image });
      else this.#openImage(this.image);
      this.#showAll();
    });
  }

  #showAll() {
    this.#showInstances();
    this.#showPins();
    this.#showProgress();
  }

  // What is shown.

  #keypoint(keypoint) {
    return keypointOf(this.annotations.get(this.instance), keypoint);
  }

  #showPins() {
    const annotation = this.annotations.get(this.instance);
    if (!annotation) return;
    const category = this.categories.get(annotation.category_id);
    const seen = new Set();
    (category.keypoints ?? []).forEach((name, keypoint) => {
      const { point, visible } = this.#keypoint(keypoint);
      const current = keypoint === this.keypoint;
      if (!point || !(visible || current)) return;
      const key = `${this.instance} ${keypoint}`, doubtful = isDoubtful(annotation, keypoint);
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
          if (keypoint !== this.keypoint) this.#select([this.instance, keypoint], null, null, { still: true });
          this.#move(to, done);
        },
      });
      button.onclick = () => {
        if (this.keypoint !== keypoint) this.#select([this.instance, keypoint]);
      };
    });
    for (const key of [...this.panel.pins.keys()]) if (!seen.has(key)) this.panel.unpin(key);
    this.panel.redraw();
  }

  #zoom(close) {
    this.close = close;
    $("whole").setAttribute("aria-pressed", !close);
    if (!this.panel.image) return;
    const annotation = this.annotations.get(this.instance);
    const point = this.current && this.#keypoint(this.keypoint).point;
    if (!close || !annotation) return this.panel.fit();
    const [x, y, width, height] = annotation.bbox, longer = Math.max(width, height);
    if (point) {
      const size = Math.max(CLOSE_UP * longer, 24);
      return this.panel.zoom([point[0] - size / 2, point[1] - size / 2, size, size]);
    }
    // Without a point: the object, where there are others beside it.
    if (this.instances.annotations.length < 2 || !(width > 0 && height > 0)) return this.panel.fit();
    const margin = 0.2 * longer;
    return this.panel.zoom([x - margin, y - margin, width + 2 * margin, height + 2 * margin]);
  }

  #showProgress() {
    const left = this.doubtful.count, { total } = this;
    $("left").textContent = left ? `${left} of ${total}` : "Nothing is doubtful";
    $("left-of").textContent = left ? "doubtful points left" : total ? "any more. All are reviewed." : "in this file.";
    $("progress").value = total ? 1 - left / total : 1;
    for (const id of ["accept", "hide"]) $(id).disabled = !this.current;
    for (const id of ["next", "previous"]) $(id).disabled = left === 0 && this.instance === null;
    for (const id of ["undo", "redo"]) $(id).disabled = !this.history[id];
    $("whole").disabled = this.image === null;
    const ids = [...this.images.keys()];
    $("image-name").textContent = this.images.get(this.image)?.name ?? "";
    $("image-count").textContent = ids.length > 1 ? ` · image ${ids.indexOf(this.image) + 1} of ${ids.length}` : "";
    for (const id of ["previous-image", "next-image"]) $(id).hidden = ids.length < 2;
    $("point").hidden = !this.current;
    if (!this.current) return;
    const [id, keypoint] = this.current, annotation = this.annotations.get(id);
    const { visible } = this.#keypoint(keypoint);
    const score = annotation.homolog?.scores?.[keypoint];
    $("point-name").textContent = this.doubtful.name(this.current).replaceAll("_", " ");
    const facts = [this.images.get(annotation.image_id).name];
    if (this.instances.annotations.length > 1) facts.push(`object ${instanceId(annotation)}`);
    if (score !== undefined && score !== null) facts.push(`score ${score.toFixed(2)}`);
    if (annotation.homolog?.reviewed.includes(keypoint)) facts.push("reviewed");
    if (!visible) facts.push("not visible");
    $("point-facts").textContent = facts.join(" · ");
    $("hide").firstChild.textContent = visible ? "Not visible " : "Visible ";
    this.#showExemplar(this.categories.get(annotation.category_id).name, this.doubtful.name(this.current));
  }

  #showExemplar(category, name) {
    const found = this.exemplars[category]?.[name], canvas = $("exemplar");
    canvas.hidden = $("exemplar-note").hidden = !found;
    if (!found) return;
    canvas.setAttribute("aria-label", `Example of ${name}`);
    $("exemplar-note").textContent = "as labelled by hand";
    const isWanted = () => this.current && this.doubtful.name(this.current) === name;
    attempt(() => drawExemplar(canvas, found, CLOSE_UP, COLOUR.current, isWanted));
  }

  // Corrections.

  #setProgress({ doubtful, total, deleted, undo, redo }) {
    Object.assign(this, { total, deleted, history: { undo, redo } });
    this.doubtful.set(doubtful, this.annotations, this.categories);
  }

  #setPoint(point) {
    this.annotations.get(this.instance).keypoints.splice(3 * this.keypoint, 3, ...point, 2);
  }

  #move(point, done) {
    if (!this.current) return;
    this.#setPoint(point);
    this.#showPins();
    if (done) this.#save({ point, visible: true });
  }

  #step([dx, dy]) {
    const { point } = this.current ? this.#keypoint(this.keypoint) : {};
    if (!point) return false;
    const to = this.panel.within([point[0] + dx, point[1] + dy]), { current } = this;
    this.#setPoint(to);
    this.#showPins();
    // Several steps in a row are one correction.
    this.saving.delay(() => this.#save({ point: to, visible: true }, current));
    return true;
  }

  #accept() {
    if (!this.current) return;
    this.saving.flush();
    this.#save({ point: null, visible: this.#keypoint(this.keypoint).visible });
    if (this.doubtful.count > 0) this.#advance(1);
    else this.#select(null, this.image, this.instance);
  }

  #toggleVisible() {
    if (!this.current) return;
    const { visible, point } = this.#keypoint(this.keypoint);
    if (!visible && !point) {
      toast("Click where it is");
      return;
    }
    if (visible) this.annotations.get(this.instance).keypoints.splice(3 * this.keypoint, 3, 0, 0, 0);
    else this.#setPoint(point);
    this.#save({ point: null, visible: !visible });
    this.#showPins();
  }

  /** Save in the background: the page shows the correction at once, and loads anew if that fails. */
  #save(correction, [annotation, keypoint] = this.current) {
    this.annotations.get(annotation).homolog?.reviewed.push(keypoint);
    this.doubtful.remove([annotation, keypoint]);
    this.saving.send("", { body: { annotation, keypoint, ...correction } }, (state, isLast) => {
      if (!isLast) return; // a later answer is newer
      this.annotations.set(annotation, state.annotation);
      this.#setProgress(state);
      this.#showAll();
    });
    this.#showAll();
  }
}
