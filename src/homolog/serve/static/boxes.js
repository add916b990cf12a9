// Boxes of objects on a panel's image: drawn, moved, resized and deleted, by pointer, finger or keys.
// A box is x, y, width, height in pixels of the upright image.

import { addElement, arrowStep, drag } from "./panel.js";

const MIN_DRAWN = 6; // screen pixels; shorter drags are no boxes
const LABEL_HEIGHT = 38; // screen pixels above a box that its label takes
const CORNERS = [[0, 0, "Upper left"], [1, 0, "Upper right"], [1, 1, "Lower right"], [0, 1, "Lower left"]];
const EDGES = [[0, -1], [1, -1], [-1, 0], [-1, 1]]; // left, right, upper, lower; -1: not moved

// Eight colours that can be told apart on photographs.
const COLOURS = ["#ff9f1c", "#2ec4f0", "#f25fb4", "#8ed11f", "#a78bfa", "#ff6b5e", "#14c9a0", "#ffd93d"];

/** The colour of the box of a number, from 0 on. */
export function boxColour(number) {
  return COLOURS[number % COLOURS.length];
}

/** A box without needless digits. */
export function rounded(box) {
  return box.map((value) => Math.round(value * 100) / 100);
}

export class Boxes {
  /**
   * @param {Panel} panel shows the image
   * @param {object} on callbacks: drawn(box); select(key); changed(key, box, done) while a box is
   *   moved or resized; remove(key); drawing(on or off)
   */
  constructor(panel, on) {
    Object.assign(this, { panel, on, items: new Map(), drawing: false, start: null });
    this.holder = addElement("div", "boxes", panel.stage);
    this.sketch = addElement("div", "sketch", panel.stage);
    this.sketch.hidden = true;
    panel.stage.insertBefore(this.holder, panel.holder);
    panel.layers.push(this);
    this.#listen();
  }

  /**
   * Add or update a box.
   *
   * @param {*} key identifies the box
   * @param {object} options box, text, name (for screen readers), colour, and whether it is current:
   *   the one that is chosen, and can be moved and resized
   */
  show(key, options) {
    const item = this.items.get(key) ?? this.#make(key);
    const before = JSON.stringify(item.options);
    Object.assign(item, options, { options });
    // There may be a thousand boxes, most of which are as they were.
    if (before === JSON.stringify(options)) return;
    const { element, chip, name, current, box } = item;
    element.classList.toggle("current", Boolean(current));
    element.style.setProperty("--colour", options.colour);
    chip.textContent = options.text;
    chip.setAttribute("aria-pressed", Boolean(current));
    const place = box.map(Math.round);
    chip.setAttribute("aria-label", `${name}, x ${place[0]}, y ${place[1]}, ${place[2]} by ${place[3]} pixels`);
    if (current && item.handles.length === 0) this.#addHandles(key, item);
    if (!current) for (const handle of item.handles.splice(0)) handle.remove();
    this.#place(item);
  }

  hide(key) {
    this.items.get(key)?.element.remove();
    this.items.delete(key);
  }

  clear() {
    for (const key of [...this.items.keys()]) this.hide(key);
    this.setDrawing(false);
  }

  /** Focus the label of a box, from where the keyboard moves and deletes it. */
  focus(key) {
    this.items.get(key)?.chip.focus({ preventScroll: true });
  }

  /** Whether the next drag on the image draws a box. */
  setDrawing(drawing) {
    drawing &&= Boolean(this.panel.image);
    if (drawing === this.drawing) return;
    this.drawing = drawing;
    this.panel.stage.classList.toggle("drawing", drawing);
    if (!drawing) this.#cancel();
    this.on.drawing?.(drawing);
  }

  /** Called by the panel when its view has changed. */
  place() {
    for (const item of this.items.values()) this.#place(item);
  }

  #place({ element, box: [x, y, width, height] }) {
    const { panel } = this, { scale } = panel.view;
    const [left, top] = panel.toStage([x, y]);
    element.style.transform = `translate(${left}px, ${top}px)`;
    element.style.width = `${width * scale}px`;
    element.style.height = `${height * scale}px`;
    // The label is above the box, or inside where there is no room above.
    element.classList.toggle("inside", top < LABEL_HEIGHT);
    element.classList.toggle("tiny", Math.min(width, height) * scale < 36);
  }

  #make(key) {
    const element = addElement("div", "box", this.holder), label = addElement("div", "label", element);
    const item = { element, label, chip: addElement("button", "chip", label), handles: [] };
    this.items.set(key, item);
    item.chip.type = "button";
    const select = (event) => {
      if (item.current) return;
      this.on.select?.(key);
      // A click on the label of the chosen box is for its keys, this one for those of the image.
      if (event.detail > 0) this.panel.stage.focus({ preventScroll: true });
    };
    const moveBy = (box, [dx, dy], done) => this.#change(key, this.#moved(box, dx, dy), done);
    drag(item.chip, this.panel, {
      begin: () => (item.current ? item.box : null),
      move: (box, by) => moveBy(box, by, false),
      end: (box, by) => moveBy(box, by, true),
    });
    item.chip.addEventListener("click", select);
    item.chip.addEventListener("keydown", (event) => {
      const step = arrowStep(event);
      if (step && item.current) {
        event.preventDefault();
        event.stopPropagation();
        moveBy(item.box, step, true);
      } else if (event.key === "Delete" || event.key === "Backspace") {
        event.stopPropagation();
        this.on.remove?.(key);
      }
    });
    return item;
  }

  /** Add what deletes and resizes the chosen box. */
  #addHandles(key, { element, label, name, handles }) {
    const remove = addElement("button", "remove", label);
    remove.type = "button";
    remove.textContent = "×";
    remove.setAttribute("aria-label", `Delete ${name}`);
    for (const type of ["pointerdown", "pointermove"]) {
      remove.addEventListener(type, (event) => event.stopPropagation());
    }
    remove.addEventListener("click", () => this.on.remove?.(key));
    const edges = EDGES.map(([column, row]) => {
      const edge = addElement("div", `edge ${column < 0 ? "wide" : "tall"} ${column === 1 || row === 1 ? "far" : ""}`, element);
      this.#resizeWith(edge, key, [column, row], true); // points may lie on it
      return edge;
    });
    handles.push(remove, ...edges, ...CORNERS.map((corner) => this.#addCorner(key, element, name, corner)));
  }

  #addCorner(key, element, name, [column, row, where]) {
    const corner = addElement("button", `corner ${column ? "right" : "left"} ${row ? "lower" : "upper"}`, element);
    corner.type = "button";
    corner.setAttribute("aria-label", `${where} corner of ${name}`);
    this.#resizeWith(corner, key, [column, row]);
    corner.addEventListener("keydown", (event) => {
      const step = arrowStep(event);
      if (!step) return;
      event.preventDefault();
      event.stopPropagation();
      this.#change(key, this.#resized(this.items.get(key).box, column, row, step), true);
    });
    return corner;
  }

  #resizeWith(part, key, [column, row], open = false) {
    const resize = (box, by, done) => this.#change(key, this.#resized(box, column, row, by), done);
    drag(part, this.panel, {
      begin: () => this.items.get(key).box,
      move: (box, by) => resize(box, by, false),
      end: (box, by) => resize(box, by, true),
    }, open);
  }

  #change(key, box, done) {
    this.on.changed?.(key, rounded(box), done);
  }

  #moved([x, y, width, height], dx, dy) {
    const { image } = this.panel;
    const within = (value, most) => Math.min(Math.max(value, 0), Math.max(most, 0));
    return [within(x + dx, image.width - width), within(y + dy, image.height - height), width, height];
  }

  /** The box with an edge or a corner moved; it does not turn over, nor leave the image. */
  #resized([x, y, width, height], column, row, [dx, dy]) {
    const { image } = this.panel, least = 1;
    const ends = [[x, x + width], [y, y + height]];
    [[column, dx, image.width], [row, dy, image.height]].forEach(([which, by, limit], axis) => {
      if (which < 0) return;
      const [low, high] = ends[axis];
      ends[axis][which] = which
        ? Math.min(Math.max(high + by, low + least), limit) : Math.max(Math.min(low + by, high - least), 0);
    });
    const [[left, right], [top, bottom]] = ends;
    return [left, top, right - left, bottom - top];
  }

  // Drawing. Listened to before the panel, which would take the drag for pointing.

  #listen() {
    const { stage } = this.panel;
    const capture = (type, listener) => stage.addEventListener(type, listener, { capture: true });
    capture("pointerdown", (event) => {
      if (!this.panel.image || event.button !== 0 || this.start) return;
      const onBox = event.target.closest(".box, .pin");
      if (!(this.drawing || (event.shiftKey && !onBox))) return;
      event.stopPropagation();
      event.preventDefault();
      stage.setPointerCapture(event.pointerId);
      this.start = { id: event.pointerId, at: this.panel.position(event) };
    });
    capture("pointermove", (event) => {
      if (this.start?.id !== event.pointerId) {
        if (this.drawing) event.stopPropagation();
        return;
      }
      event.stopPropagation();
      const [x0, y0, x1, y1] = this.#corners(event);
      const [left, top] = this.panel.toStage([x0, y0]), [right, bottom] = this.panel.toStage([x1, y1]);
      this.sketch.hidden = false;
      this.sketch.style.transform = `translate(${left}px, ${top}px)`;
      this.sketch.style.width = `${right - left}px`;
      this.sketch.style.height = `${bottom - top}px`;
    });
    capture("pointerup", (event) => {
      if (this.start?.id !== event.pointerId) return;
      event.stopPropagation();
      const [x0, y0, x1, y1] = this.#corners(event), { scale } = this.panel.view;
      this.#cancel();
      if (Math.min(x1 - x0, y1 - y0) * scale < MIN_DRAWN) return;
      this.setDrawing(false);
      this.on.drawn?.(rounded([x0, y0, x1 - x0, y1 - y0]));
    });
    capture("pointercancel", () => this.#cancel());
    capture("keydown", (event) => {
      if (!this.drawing || event.key !== "Enter" || event.target !== stage) return;
      event.stopPropagation();
      event.preventDefault();
      this.setDrawing(false);
      this.on.drawn?.(this.#middle());
    });
  }

  #cancel() {
    this.start = null;
    this.sketch.hidden = true;
  }

  /** Left, upper, right and lower end of what is being drawn. */
  #corners(event) {
    const { panel } = this;
    const [a, b] = [this.start.at, panel.position(event)].map((at) => panel.within(panel.toImage(at)));
    return [Math.min(a[0], b[0]), Math.min(a[1], b[1]), Math.max(a[0], b[0]), Math.max(a[1], b[1])];
  }

  /** A box in the middle of what is shown, for those who draw with the keyboard. */
  #middle() {
    const { panel } = this, { clientWidth, clientHeight } = panel.stage;
    const [x0, y0] = panel.within(panel.toImage([0.25 * clientWidth, 0.25 * clientHeight]));
    const [x1, y1] = panel.within(panel.toImage([0.75 * clientWidth, 0.75 * clientHeight]));
    return rounded([x0, y0, Math.max(x1 - x0, 1), Math.max(y1 - y0, 1)]);
  }
}
