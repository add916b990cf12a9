// A picture that can be zoomed, pointed at and marked. Points are in pixels of the upright picture.

import { paint, placement } from "./heat.js";

const STILL = 4; // pixels that a click may move
const DEEPEST = 24; // screen pixels a picture pixel

function element(name, className, parent) {
  const made = document.createElement(name);
  made.className = className;
  parent.append(made);
  return made;
}

export class Panel {
  /**
   * @param {HTMLElement} stage where the picture goes
   * @param {object} on hover(point or null), pick(point), draw(context, panel) for marks, and where
   *   the panel itself does not do: step([dx, dy]) of arrow keys, resize()
   * @param {object} options wheel: whether the wheel zooms without Ctrl
   */
  constructor(stage, on, { wheel = false } = {}) {
    Object.assign(this, { stage, on, picture: null, view: { scale: 1, x: 0, y: 0 }, pins: new Map() });
    this.sheet = element("div", "sheet", stage);
    this.image = element("img", "", this.sheet);
    this.warp = element("img", "warp", this.sheet);
    this.heat = element("canvas", "heat", this.sheet);
    this.marks = element("canvas", "marks", stage);
    this.holder = element("div", "pins", stage);
    this.image.alt = this.warp.alt = "";
    this.image.draggable = this.warp.draggable = false;
    this.warp.hidden = this.heat.hidden = true;
    this.pointers = new Map();
    this.#listen(wheel);
    new ResizeObserver(() => (on.resize ? on.resize() : this.fit())).observe(stage);
  }

  /** Show a picture: its address, width and height; null for none. */
  show(picture) {
    this.picture = picture;
    this.stage.classList.toggle("filled", Boolean(picture));
    this.clearHeat();
    this.setWarp(null);
    if (picture) {
      this.image.src = picture.address;
      this.sheet.style.width = `${picture.width}px`;
      this.sheet.style.height = `${picture.height}px`;
    } else {
      this.image.removeAttribute("src");
    }
    this.fit();
  }

  /** The whole picture, in the middle. */
  fit() {
    if (this.picture) this.zoom([0, 0, this.picture.width, this.picture.height]);
    else this.redraw();
  }

  /** Show x, y, width, height of the picture, in the middle. */
  zoom([x, y, width, height]) {
    const { clientWidth, clientHeight } = this.stage;
    const scale = Math.min(clientWidth / width, clientHeight / height) || 1;
    this.view = {
      scale,
      x: clientWidth / 2 - scale * (x + width / 2),
      y: clientHeight / 2 - scale * (y + height / 2),
    };
    this.redraw();
  }

  get fitted() {
    const { clientWidth, clientHeight } = this.stage;
    return Math.min(clientWidth / this.picture.width, clientHeight / this.picture.height);
  }

  magnify(factor, [x, y]) {
    const least = this.fitted;
    const scale = Math.min(Math.max(this.view.scale * factor, least), Math.max(DEEPEST, least));
    if (scale === least) return this.fit();
    const by = scale / this.view.scale;
    this.view = { scale, x: x - by * (x - this.view.x), y: y - by * (y - this.view.y) };
    this.redraw();
  }

  move(dx, dy) {
    const { width, height } = this.picture, { clientWidth, clientHeight } = this.stage;
    const keep = 40; // pixels of the picture that stay in sight
    this.view.x = Math.min(Math.max(this.view.x + dx, keep - width * this.view.scale), clientWidth - keep);
    this.view.y = Math.min(Math.max(this.view.y + dy, keep - height * this.view.scale), clientHeight - keep);
    this.redraw();
  }

  toStage([x, y]) {
    return [x * this.view.scale + this.view.x, y * this.view.scale + this.view.y];
  }

  toPicture([x, y]) {
    return [(x - this.view.x) / this.view.scale, (y - this.view.y) / this.view.scale];
  }

  within([x, y]) {
    return [
      Math.min(Math.max(x, 0), this.picture.width), Math.min(Math.max(y, 0), this.picture.height),
    ];
  }

  holds([x, y]) {
    return x >= 0 && y >= 0 && x <= this.picture.width && y <= this.picture.height;
  }

  showHeat(found, side) {
    paint(this.heat, found);
    this.heat.hidden = false;
    this.heat.style.transform = `matrix(${placement(side).join()})`;
  }

  clearHeat() {
    this.heat.hidden = true;
  }

  setWarp(address, opacity = 1) {
    this.warp.hidden = !address;
    if (address && this.warp.getAttribute("src") !== address) this.warp.src = address;
    this.warp.style.opacity = opacity;
  }

  /** Marks and pins where they belong now. */
  redraw() {
    const { scale, x, y } = this.view;
    this.sheet.style.transform = `translate(${x}px, ${y}px) scale(${scale})`;
    this.sheet.classList.toggle("pixels", scale > 4);
    const ratio = window.devicePixelRatio || 1;
    const { clientWidth, clientHeight } = this.stage;
    const width = Math.round(clientWidth * ratio), height = Math.round(clientHeight * ratio);
    if (this.marks.width !== width || this.marks.height !== height) {
      this.marks.width = width;
      this.marks.height = height;
    }
    const context = this.marks.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, clientWidth, clientHeight);
    if (!this.picture) return;
    this.on.draw?.(context, this);
    for (const pin of this.pins.values()) this.#place(pin);
  }

  /**
   * A mark that can be dragged and moved with the keyboard.
   *
   * @param {*} key tells it from others
   * @param {object} about point, text, label, colour, classes, and moved(point, done), key(event)
   */
  pin(key, about) {
    let pin = this.pins.get(key);
    if (!pin) {
      pin = { button: element("button", "pin", this.holder) };
      pin.button.type = "button";
      this.pins.set(key, pin);
      this.#handle(pin);
    }
    Object.assign(pin, about);
    pin.button.textContent = about.text;
    pin.button.className = `pin ${about.classes ?? ""}`;
    pin.button.style.setProperty("--colour", about.colour);
    pin.button.setAttribute("aria-label", about.label);
    pin.button.title = about.title ?? "";
    this.#place(pin);
    return pin.button;
  }

  unpin(key) {
    this.pins.get(key)?.button.remove();
    this.pins.delete(key);
  }

  #place({ button, point }) {
    const [x, y] = this.toStage(point);
    button.style.transform = `translate(${x}px, ${y}px)`;
  }

  #at(event) {
    const box = this.stage.getBoundingClientRect();
    return [event.clientX - box.left - this.stage.clientLeft, event.clientY - box.top - this.stage.clientTop];
  }

  #handle(pin) {
    const { button } = pin;
    let start = null;
    button.addEventListener("pointerdown", (event) => {
      event.stopPropagation();
      if (event.button !== 0) return;
      button.setPointerCapture(event.pointerId);
      start = { at: this.#at(event), point: pin.point, moved: false };
    });
    button.addEventListener("pointermove", (event) => {
      event.stopPropagation();
      if (!start) return;
      const [x, y] = this.#at(event), dx = x - start.at[0], dy = y - start.at[1];
      start.moved ||= Math.hypot(dx, dy) > STILL;
      if (!start.moved) return;
      const { scale } = this.view;
      pin.moved?.(this.within([start.point[0] + dx / scale, start.point[1] + dy / scale]), false);
    });
    const end = () => {
      if (start?.moved) pin.moved?.(pin.point, true);
      start = null;
    };
    button.addEventListener("pointerup", end);
    button.addEventListener("pointercancel", end);
    button.addEventListener("keydown", (event) => {
      const step = arrow(event);
      if (step) {
        event.preventDefault();
        event.stopPropagation();
        pin.moved?.(this.within([pin.point[0] + step[0], pin.point[1] + step[1]]), true);
      } else {
        pin.key?.(event);
      }
    });
  }

  #listen(wheel) {
    const { stage, pointers } = this;
    let still = false, cursor = null;
    stage.addEventListener("pointerdown", (event) => {
      if (!this.picture || event.button !== 0) return;
      stage.setPointerCapture(event.pointerId);
      pointers.set(event.pointerId, this.#at(event));
      still = pointers.size === 1;
      stage.dataset.down = this.#at(event).join();
      if (still) this.#hover(event);
    });
    stage.addEventListener("pointermove", (event) => {
      if (!this.picture) return;
      const now = this.#at(event), before = pointers.get(event.pointerId);
      if (before && pointers.size === 2) {
        const [, other] = [...pointers].find(([id]) => id !== event.pointerId);
        const apart = (a) => Math.hypot(a[0] - other[0], a[1] - other[1]);
        this.magnify(apart(now) / Math.max(apart(before), 1), other);
        pointers.set(event.pointerId, now);
        return;
      }
      if (before) {
        const [x, y] = stage.dataset.down.split(",").map(Number);
        if (Math.hypot(now[0] - x, now[1] - y) > STILL) still = false;
        if (!still && event.pointerType === "mouse" && this.view.scale > this.fitted * 1.001) {
          this.move(now[0] - before[0], now[1] - before[1]);
        }
        pointers.set(event.pointerId, now);
      }
      this.#hover(event);
    });
    const end = (event) => {
      const pressed = pointers.delete(event.pointerId);
      if (pressed && still && event.type === "pointerup") {
        const point = this.toPicture(this.#at(event));
        if (this.holds(point)) this.on.pick?.(point);
      }
      still = false;
      if (event.pointerType !== "mouse") this.on.hover?.(null);
    };
    stage.addEventListener("pointerup", end);
    stage.addEventListener("pointercancel", end);
    stage.addEventListener("pointerleave", () => this.on.hover?.(null));
    stage.addEventListener("blur", () => {
      if (cursor) this.on.hover?.(null);
      cursor = null;
    });
    stage.addEventListener("wheel", (event) => {
      if (!this.picture || !(wheel || event.ctrlKey || event.metaKey)) return;
      event.preventDefault();
      this.magnify(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.002)), this.#at(event));
    }, { passive: false });
    stage.addEventListener("keydown", (event) => {
      if (event.target !== stage || !this.picture) return;
      const step = arrow(event);
      if (event.key === "0") this.fit();
      if (this.on.step) {
        if (step && this.on.step(step)) event.preventDefault();
        return;
      }
      if (step) {
        const { width, height } = this.picture;
        const [x, y] = cursor ?? [width / 2, height / 2];
        cursor = this.within([x + step[0], y + step[1]]);
        this.on.hover?.(cursor);
        event.preventDefault();
      } else if (event.key === "Enter" && cursor) {
        this.on.pick?.(cursor);
        event.preventDefault();
      }
    });
  }

  #hover(event) {
    const point = this.toPicture(this.#at(event));
    this.on.hover?.(this.holds(point) ? point : null);
  }
}

/** How far an arrow key goes; undefined for other keys. */
export function arrow(event) {
  const far = event.shiftKey ? 10 : 1;
  return {
    ArrowLeft: [-far, 0], ArrowRight: [far, 0], ArrowUp: [0, -far], ArrowDown: [0, far],
  }[event.key];
}

/** A ring with a cross: a place that is looked at or found. */
export function crosshair(context, [x, y], text = "") {
  for (const [width, colour] of [[4, "rgba(0, 0, 0, 0.55)"], [1.75, "#fff"]]) {
    context.lineWidth = width;
    context.strokeStyle = colour;
    context.beginPath();
    context.moveTo(x + 7, y);
    context.arc(x, y, 7, 0, 2 * Math.PI);
    for (const sign of [-1, 1]) {
      context.moveTo(x + sign * 7, y);
      context.lineTo(x + sign * 12, y);
      context.moveTo(x, y + sign * 7);
      context.lineTo(x, y + sign * 12);
    }
    context.stroke();
  }
  if (text) label(context, [x + 14, y - 14], text);
}

/** Text on a small dark plate. */
export function label(context, [x, y], text) {
  context.font = "600 12px system-ui, sans-serif";
  const width = context.measureText(text).width;
  const room = context.canvas.clientWidth - width - 14;
  x = Math.max(2, Math.min(x, room));
  y = Math.max(12, y);
  context.fillStyle = "rgba(15, 17, 24, 0.78)";
  context.beginPath();
  context.roundRect(x, y - 10, width + 12, 20, 6);
  context.fill();
  context.fillStyle = "#fff";
  context.textBaseline = "middle";
  context.fillText(text, x + 6, y + 0.5);
}
