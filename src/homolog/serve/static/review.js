// Review of labels, one doubtful point after the other, the most doubtful image first; or first labels,
// keypoint by keypoint. The server saves every change.

import { attempt, request, toast } from "./common.js";
import { Corrections } from "./corrections.js";
import { Doubtful } from "./doubtful.js";
import { CLOSE_UP, Facts } from "./facts.js";
import { askSides, FirstLabels } from "./first_labels.js";
import { instanceId, Instances, isDoubtful, keypointOf } from "./instances.js";
import { KeypointTable } from "./keypoint_table.js";
import { arrowStep, Panel } from "./panel.js";
import { showPins } from "./review_pins.js";
import { offerExports } from "./review_export.js";
import { Saving } from "./saving.js";

const $ = (id) => document.getElementById(id);

export class Review {
  constructor() {
    this.panel = new Panel($("review-stage"), {
      pick: (point) => this.corrections.place(point),
      step: (step) => this.corrections.step(step),
      resize: () => this.#zoom(this.close),
      draw: (context) => this.instances.draw(context),
    }, { wheel: true });
    this.instances = new Instances(this.panel, {
      select: (id) => this.selectInstance(id),
      add: (category, box) => this.#add(category, box),
      move: (id, box, done) => this.#moveBox(id, box, done),
      remove: (id) => this.#remove(id),
      rename: (id, name) => this.change(`/names/${pathId(id)}`, { body: { instance: name } }),
      restore: (id) => this.change(`/deleted/${pathId(id)}`),
    });
    this.doubtful = new Doubtful();
    this.table = new KeypointTable((name) => {
      this.doubtful.only = name;
      Object.assign(this, { instance: null, keypoint: null });
      this.advance(1);
    });
    this.facts = new Facts(this);
    this.first = new FirstLabels(this);
    this.corrections = new Corrections(this);
    this.saving = new Saving($("saved"), () => attempt(() => this.load()));
    // The image, the annotation and the keypoint that are shown.
    Object.assign(this, { image: null, instance: null, keypoint: null });
    Object.assign(this, { close: true, sizes: new Map(), occluded: false, predicting: null });
    const buttons = {
      accept: () => this.corrections.accept(), "accept-image": () => this.corrections.acceptImage(), hide: () => this.corrections.toggleVisible(),
      occlude: () => this.corrections.toggleOccluded(), next: () => this.#skip(), previous: () => this.#back(),
      whole: () => this.#zoom(!this.close), draw: () => this.#startDrawing(),
      undo: () => this.#undo("undo"), redo: () => this.#undo("redo"),
      "previous-image": () => this.#stepImage(-1), "next-image": () => this.#stepImage(1),
    };
    for (const [id, action] of Object.entries(buttons)) $(id).addEventListener("click", action);
    attempt(() => offerExports(() => this.saved()));
  }

  async load() {
    const state = await (await request("/api/review")).json();
    const byId = (entries) => new Map(entries.map((entry) => [entry.id, entry]));
    Object.assign(this, { categories: byId(state.categories), annotations: byId(state.annotations) });
    this.fromNothing = state.from_nothing;
    this.images = byId(state.images);
    // The order stays while the page is open, so that nothing jumps.
    this.order ??= this.fromNothing ? [...this.images.keys()] : state.order;
    this.doubtful.setOrder(this.order);
    this.exemplars = state.exemplars;
    this.saving.file = state.file;
    this.instances.setCategories(state.categories);
    this.setProgress(state);
    if (this.annotations.has(this.instance)) this.select(this.current, this.image, this.instance);
    else if (this.fromNothing) this.openImage(this.images.has(this.image) ? this.image : this.first.nextUnlabelled());
    else if (this.doubtful.count > 0) this.advance(1);
    else this.openImage(this.order.find((id) => this.images.get(id).picture) ?? null);
    for (const id of this.askedSides ? [] : state.sides) this.#askSides(this.categories.get(id));
  }

  /** The annotation and the keypoint under review; null if no keypoint is. */
  get current() {
    return this.keypoint === null ? null : [this.instance, this.keypoint];
  }

  /** Handle a key press that is meant for the page. */
  key(event) {
    const action = {
      n: () => this.#skip(), p: () => this.#back(), v: () => this.corrections.toggleVisible(), o: () => this.corrections.toggleOccluded(),
      a: () => this.corrections.acceptImage(), z: () => this.#zoom(!this.close),
      i: () => this.#stepInstance(1), I: () => this.#stepInstance(-1), b: () => this.#startDrawing(),
      u: () => this.#undo("undo"), U: () => this.#undo("redo"),
      PageDown: () => this.#stepImage(1), PageUp: () => this.#stepImage(-1),
      Escape: () => this.instances.boxes.setDrawing(false),
      s: () => { $("saved").textContent = "Every change is saved at once."; },
    }[event.key];
    const button = event.target.closest("button:not(.pin), summary"), step = arrowStep(event);
    if (event.defaultPrevented) return;
    if (action) {
      action();
      if (event.key.startsWith("Page")) event.preventDefault();
    } else if (/^[1-9]$/.test(event.key)) {
      this.selectInstance(this.instances.annotations[event.key - 1]?.id);
    } else if (step && this.corrections.step(step)) {
      event.preventDefault();
    } else if ((event.key === "Enter" || event.key === " ") && !button) {
      event.preventDefault();
      this.corrections.accept();
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
  advance(direction) {
    const only = this.fromNothing ? this.image : null; // first labels are made image by image
    const next = this.doubtful.next([this.instance, this.keypoint], direction, only);
    if (next) return this.select(next);
    const count = (this.annotations.get(this.instance)?.keypoints.length ?? 0) / 3;
    if (count === 0 || this.fromNothing) return this.select(null, this.image, this.instance);
    const keypoint = this.keypoint === null ? 0 : (this.keypoint + direction + count) % count;
    return this.select([this.instance, keypoint]);
  }

  /** Go on without accepting the point. */
  #skip() {
    this.doubtful.leave(this.current);
    this.advance(1);
  }

  /** Go back to the point that was looked at before, accepted or not. */
  #back() {
    const point = this.doubtful.back();
    if (point) this.select(point);
    else this.advance(-1);
  }

  /** Show a point, or else an annotation, or else an image alone; still: without moving the view. */
  select(current, image = null, instance = null, { still = false } = {}) {
    this.saving.flush();
    const before = [this.image, this.instance];
    [this.instance, this.keypoint] = current ?? [instance, null];
    this.image = this.annotations.get(this.instance)?.image_id ?? image;
    this.occluded = false;
    if (this.image !== before[0] || this.instance !== before[1]) {
      for (const key of [...this.panel.pins.keys()]) this.panel.unpin(key);
    }
    if (this.image !== before[0]) this.instances.boxes.clear();
    this.facts.show();
    if (this.image === null) this.panel.show(null);
    else attempt(() => this.#showImage(this.images.get(this.image), before[0], still));
  }

  async #showImage(image, before, still) {
    if (!image.picture) {
      this.panel.show(null);
      this.showInstances();
      throw new Error(`${image.name} is not in the folder of images`);
    }
    if (!this.sizes.has(image.id)) {
      this.sizes.set(image.id, await (await request(`/api/pictures/${image.picture}/size`)).json());
    }
    if (this.image !== image.id) return;
    if (before !== image.id || !this.panel.image) {
      this.panel.show({ ...this.sizes.get(image.id), address: `/api/pictures/${image.picture}/image` });
    }
    this.showInstances();
    if (!still || before !== image.id) this.#zoom(this.close);
    this.showPins();
    this.facts.show();
    this.#prefetch();
  }

  /** Fetch the next image while this one is reviewed. */
  #prefetch() {
    const next = this.fromNothing ? this.first.nextUnlabelled() : this.current && this.doubtful.nextImage(this.current);
    const image = this.images.get(next);
    if (image?.picture) new Image().src = `/api/pictures/${image.picture}/image`;
  }

  // Objects and images.

  /** Review an object: its first doubtful point, or without any, none until one is chosen. */
  selectInstance(id, options) {
    const annotation = this.annotations.get(id);
    if (!annotation) return;
    const keypoint = annotation.homolog?.doubtful.find((each) => isDoubtful(annotation, each));
    this.select(keypoint === undefined ? null : [id, keypoint], annotation.image_id, id, options);
  }

  #stepInstance(by) {
    this.selectInstance(this.instances.step(by));
  }

  openImage(id) {
    const here = [...this.annotations.values()].filter(({ image_id: image, iscrowd }) => image === id && iscrowd !== 1);
    const first = here.find(({ id: each }) => this.doubtful.points.some(([annotation]) => annotation === each)) ?? here[0];
    if (first) this.selectInstance(first.id);
    else if (this.fromNothing && id !== null) this.first.begin(id);
    else this.select(null, id);
  }

  #stepImage(by) {
    const { order } = this;
    if (order.length > 0) this.openImage(order[(order.indexOf(this.image) + by + order.length) % order.length]);
  }

  showInstances() {
    const here = ({ image_id: image }) => image === this.image;
    const shown = [...this.annotations.values()].filter((each) => here(each) && !each.placeholder);
    this.instances.show(shown, this.deleted.filter(here), this.instance);
    this.panel.redraw();
  }

  #startDrawing() {
    const { boxes } = this.instances;
    if (this.close && !boxes.drawing) this.#zoom(false);
    boxes.setDrawing(!boxes.drawing);
  }

  #add(category, box) {
    this.change("/instances", { body: { image: this.image, category, box } }, ({ id }) => {
      this.selectInstance(id, { still: true });
    });
  }

  #moveBox(id, box, done) {
    this.annotations.get(id).bbox = box;
    this.instances.showBoxes();
    // Several steps in a row are one change.
    if (done) this.saving.delay(() => this.change(`/instances/${pathId(id)}`, { body: { box } }, () => {}));
  }

  #remove(id) {
    const name = instanceId(this.annotations.get(id)), next = this.instances.step(1);
    this.change(`/instances/${pathId(id)}`, { method: "DELETE" }, () => {
      toast(`Object ${name} is deleted. Undo brings it back.`);
      this.panel.stage.focus({ preventScroll: true });
      if (id !== this.instance) return;
      if (this.annotations.has(next)) this.selectInstance(next, { still: true });
      else this.select(null, this.image, null, { still: true });
    });
  }

  #undo(name) {
    this.saving.flush();
    this.saving.queue.then(() => {
      if (this.history[name]) this.change(`/${name}`);
      else toast(`There is nothing to ${name}`);
    });
  }

  /** Change objects on the server, and show what has changed; then: called before it is shown. */
  change(path, options = {}, then = null) {
    this.saving.send(path, options, (state) => {
      this.take(state);
      if (then) then(state);
      else this.#showChanged(state);
      this.showAll();
    });
  }

  /** Show what a change was about: a point, or else an object, or else an image. */
  #showChanged({ id, keypoint, annotation }) {
    const still = annotation?.image_id === this.image;
    if (!annotation) this.openImage(this.image);
    else if (typeof keypoint === "number") this.select([id, keypoint], null, null, { still });
    else this.selectInstance(id, { still });
  }

  /** Take annotations as the server has them now. */
  take(state) {
    for (const [id, annotation] of state.annotations) {
      if (annotation) {
        this.first.replacePlaceholder(annotation);
        this.annotations.set(id, annotation);
      } else {
        this.annotations.delete(id);
      }
    }
    this.setProgress(state);
  }

  async saved() {
    this.saving.flush();
    await this.saving.queue;
  }

  showAll() {
    this.showInstances();
    this.showPins();
    this.facts.show();
  }

  #askSides(category) {
    this.askedSides = true;
    askSides(category, (counterparts) => {
      this.saving.send("/sides", { body: { category: category.id, counterparts } }, (state) => {
        for (const each of state.categories) this.categories.set(each.id, each);
      });
      this.panel.stage.focus({ preventScroll: true });
    });
  }

  // What is shown.

  /** Where a keypoint of the object under review is, and if it is visible. */
  keypointOf(keypoint) {
    return keypointOf(this.annotations.get(this.instance), keypoint);
  }

  showPins() {
    const annotation = this.annotations.get(this.instance);
    if (!annotation) return;
    const names = this.categories.get(annotation.category_id).keypoints ?? [];
    showPins(this.panel, annotation, names, this.keypoint, {
      moved: (keypoint, to, done) => {
        if (keypoint !== this.keypoint) this.select([this.instance, keypoint], null, null, { still: true });
        this.corrections.move(to, done);
      },
      chosen: (keypoint) => {
        if (this.keypoint !== keypoint) this.select([this.instance, keypoint]);
      },
    });
  }

  #zoom(close) {
    this.close = close;
    $("whole").setAttribute("aria-pressed", !close);
    if (!this.panel.image) return;
    const annotation = this.annotations.get(this.instance);
    const point = this.current && this.keypointOf(this.keypoint).point;
    if (!close || !annotation || (this.fromNothing && !point)) return this.panel.fit();
    const [x, y, width, height] = annotation.bbox, longer = Math.max(width, height);
    if (point) {
      // First labels are made of many points, between which the view stays.
      if (this.fromNothing) return this.panel.zoom([x - 0.15 * longer, y - 0.15 * longer, width + 0.3 * longer, height + 0.3 * longer]);
      const size = Math.max(CLOSE_UP * longer, 24);
      return this.panel.zoom([point[0] - size / 2, point[1] - size / 2, size, size]);
    }
    // Without a point: the object, where there are others beside it.
    if (this.instances.annotations.length < 2 || !(width > 0 && height > 0)) return this.panel.fit();
    const margin = 0.2 * longer;
    return this.panel.zoom([x - margin, y - margin, width + 2 * margin, height + 2 * margin]);
  }

  // Corrections.

  setProgress({ doubtful, total, deleted, undo, redo }) {
    Object.assign(this, { total, deleted, history: { undo, redo } });
    const begun = [...this.annotations.values()].filter((each) => each.placeholder);
    const open = begun.flatMap((each) => each.homolog.doubtful.filter((k) => isDoubtful(each, k)).map((k) => [each.id, k]));
    this.doubtful.set([...doubtful, ...open], this.annotations, this.categories);
  }
}

/** An id as it is written in addresses: numbers and text are told apart. */
function pathId(id) {
  return encodeURIComponent(JSON.stringify(id));
}
