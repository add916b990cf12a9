// An image that can be zoomed, pointed at and marked. Points are in pixels of the upright image.

import { paint, placement } from "./heat.js";

const CLICK_TOLERANCE = 4; // pixels that the pointer may move during a click
const MAX_SCALE = 24; // screen pixels per image pixel

/** A new element at the end of another. */
export function addElement(name, className, parent) {
  const made = document.createElement(name);
  made.className = className;
  parent.append(made);
  return made;
}

export class Panel {
  /**
   * @param {HTMLElement} stage the element that shows the image
   * @param {object} on callbacks: hover(point or null), pick(point), draw(context, panel) for marks;
   *   and step([dx, dy]) for arrow keys and resize(), which replace what the panel does itself
   * @param {object} options wheel: whether the wheel zooms without Ctrl
   */
  constructor(stage, on, { wheel = false } = {}) {
    Object.assign(this, { stage, on, image: null, view: { scale: 1, x: 0, y: 0 }, pins: new Map(), layers: [] });
    this.sheet = addElement("div", "sheet", stage);
    this.imageElement = addElement("img", "", this.sheet);
    this.warp = addElement("img", "warp", this.sheet);
    this.matched = addElement("div", "matched", this.sheet); // the part of the image that is matched
    this.heat = addElement("canvas", "heat", this.matched);
    this.marks = addElement("canvas", "marks", stage);
    this.holder = addElement("div", "pins", stage);
    this.imageElement.alt = this.warp.alt = "";
    this.imageElement.draggable = this.warp.draggable = false;
    this.warp.hidden = this.heat.hidden = true;
    this.pointers = new Map();
    this.#listen(wheel);
    new ResizeObserver(() => (on.resize ? on.resize() : this.fit())).observe(stage);
  }

  /** Show an image, given its address, width and height; null for none. */
  show(image) {
    this.image = image;
    this.stage.classList.toggle("filled", Boolean(image));
    this.clearHeat();
    this.setWarp(null);
    if (image) {
      this.imageElement.src = image.address;
      this.sheet.style.width = `${image.width}px`;
      this.sheet.style.height = `${image.height}px`;
    } else {
      this.imageElement.removeAttribute("src");
    }
    this.fit();
  }

  /** Show the whole image, centred. */
  fit() {
    if (this.image) this.zoom([0, 0, this.image.width, this.image.height]);
    else this.redraw();
  }

  /** Show a part of the image, centred: x, y, width and height. */
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

  /** The scale at which the whole image is shown. */
  get fittedScale() {
    const { clientWidth, clientHeight } = this.stage;
    return Math.min(clientWidth / this.image.width, clientHeight / this.image.height);
  }

  magnify(factor, [x, y]) {
    const least = this.fittedScale;
    const scale = Math.min(Math.max(this.view.scale * factor, least), Math.max(MAX_SCALE, least));
    if (scale === least) return this.fit();
    const by = scale / this.view.scale;
    this.view = { scale, x: x - by * (x - this.view.x), y: y - by * (y - this.view.y) };
    this.redraw();
  }

  move(dx, dy) {
    const { width, height } = this.image, { clientWidth, clientHeight } = this.stage;
    const keep = 40; // pixels of the image that stay in sight
    this.view.x = Math.min(Math.max(this.view.x + dx, keep - width * this.view.scale), clientWidth - keep);
    this.view.y = Math.min(Math.max(this.view.y + dy, keep - height * this.view.scale), clientHeight - keep);
    this.redraw();
  }

  toStage([x, y]) {
    return [x * this.view.scale + this.view.x, y * this.view.scale + this.view.y];
  }

  toImage([x, y]) {
    return [(x - this.view.x) / this.view.scale, (y - this.view.y) / this.view.scale];
  }

  within([x, y]) {
    return [
      Math.min(Math.max(x, 0), this.image.width), Math.min(Math.max(y, 0), this.image.height),
    ];
  }

  holds([x, y]) {
    return x >= 0 && y >= 0 && x <= this.image.width && y <= this.image.height;
  }

  /** Show a heatmap on the cells of this panel's image (`Pair.maps`), within what is matched. */
  showHeat(heatmap, map) {
    paint(this.heat, heatmap);
    this.heat.hidden = false;
    const [left, top, width, height] = map.bounds, [a, b, c, d, x, y] = placement(map);
    Object.assign(this.matched.style, { left: `${left}px`, top: `${top}px`, width: `${width}px`, height: `${height}px` });
    this.heat.style.transform = `matrix(${[a, b, c, d, x - left, y - top].join()})`;
  }

  clearHeat() {
    this.heat.hidden = true;
  }

  /** Show the warp, if there is an address, within bounds: x, y, width and height. */
  setWarp(address, opacity = 1, bounds = null) {
    this.warp.hidden = !address;
    if (!address) return;
    if (this.warp.getAttribute("src") !== address) this.warp.src = address;
    this.warp.style.opacity = opacity;
    const [x, y, width, height] = bounds, { image } = this;
    const cut = [y, image.width - x - width, image.height - y - height, x];
    this.warp.style.clipPath = `inset(${cut.map((pixels) => `${pixels}px`).join(" ")})`;
  }

  /** Draw marks and place pins for the current view, before the next frame is shown. */
  redraw() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.#render();
    });
  }

  #render() {
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
    if (!this.image) return;
    this.on.draw?.(context, this);
    for (const pin of this.pins.values()) this.#placePin(pin);
    for (const layer of this.layers) layer.place();
  }

  /**
   * Add or update a pin: a mark that can be dragged, and moved with the keyboard.
   *
   * @param {*} key identifies the pin
   * @param {object} options point, text, label, title, colour, classes, and the callbacks
   *   moved(point, done) and key(event)
   */
  pin(key, options) {
    let pin = this.pins.get(key);
    if (!pin) {
      pin = { button: addElement("button", "pin", this.holder) };
      pin.button.type = "button";
      this.pins.set(key, pin);
      this.#listenToPin(pin);
    }
    Object.assign(pin, options);
    pin.button.textContent = options.text;
    pin.button.className = `pin ${options.classes ?? ""}`;
    pin.button.style.setProperty("--colour", options.colour);
    pin.button.setAttribute("aria-label", options.label);
    pin.button.title = options.title ?? "";
    this.#placePin(pin);
    return pin.button;
  }

  unpin(key) {
    this.pins.get(key)?.button.remove();
    this.pins.delete(key);
  }

  #placePin({ button, point }) {
    const [x, y] = this.toStage(point);
    button.style.transform = `translate(${x}px, ${y}px)`;
  }

  /** Pick the point of the image where an event is. */
  pick(event) {
    const point = this.toImage(this.position(event));
    if (this.holds(point)) this.on.pick?.(point);
  }

  /** Where an event is on the stage. */
  position(event) {
    const box = this.stage.getBoundingClientRect();
    return [event.clientX - box.left - this.stage.clientLeft, event.clientY - box.top - this.stage.clientTop];
  }

  #listenToPin(pin) {
    const to = ([x, y], [dx, dy]) => this.within([x + dx, y + dy]);
    drag(pin.button, this, {
      begin: () => pin.point,
      move: (start, by) => pin.moved?.(to(start, by), false),
      end: () => pin.moved?.(pin.point, true),
    });
    pin.button.addEventListener("keydown", (event) => {
      const step = arrowStep(event);
      if (step) {
        event.preventDefault();
        event.stopPropagation();
        pin.moved?.(to(pin.point, step), true);
      } else {
        pin.key?.(event);
      }
    });
  }

  #listen(wheel) {
    const { stage, pointers } = this;
    let clicking = false, cursor = null;
    stage.addEventListener("pointerdown", (event) => {
      if (!this.image || event.button !== 0) return;
      stage.setPointerCapture(event.pointerId);
      pointers.set(event.pointerId, this.position(event));
      clicking = pointers.size === 1;
      stage.dataset.down = this.position(event).join();
      if (clicking) this.#hover(event);
    });
    stage.addEventListener("pointermove", (event) => {
      if (!this.image) return;
      const now = this.position(event), before = pointers.get(event.pointerId);
      if (before && pointers.size === 2) {
        const [, other] = [...pointers].find(([id]) => id !== event.pointerId);
        const apart = (a) => Math.hypot(a[0] - other[0], a[1] - other[1]);
        this.magnify(apart(now) / Math.max(apart(before), 1), other);
        pointers.set(event.pointerId, now);
        return;
      }
      if (before) {
        const [x, y] = stage.dataset.down.split(",").map(Number);
        if (Math.hypot(now[0] - x, now[1] - y) > CLICK_TOLERANCE) clicking = false;
        if (!clicking && event.pointerType === "mouse" && this.view.scale > this.fittedScale * 1.001) {
          this.move(now[0] - before[0], now[1] - before[1]);
        }
        pointers.set(event.pointerId, now);
      }
      this.#hover(event);
    });
    const end = (event) => {
      const pressed = pointers.delete(event.pointerId);
      if (pressed && clicking && event.type === "pointerup") this.pick(event);
      clicking = false;
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
      if (!this.image || !(wheel || event.ctrlKey || event.metaKey)) return;
      event.preventDefault();
      this.magnify(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.002)), this.position(event));
    }, { passive: false });
    stage.addEventListener("keydown", (event) => {
      if (event.target !== stage || !this.image) return;
      const step = arrowStep(event);
      if (event.key === "0") this.fit();
      if (this.on.step) {
        if (step && this.on.step(step)) event.preventDefault();
        return;
      }
      if (step) {
        const { width, height } = this.image;
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
    const point = this.toImage(this.position(event));
    this.on.hover?.(this.holds(point) ? point : null);
  }
}

/**
 * Let an element on a panel's stage be dragged.
 *
 * @param {HTMLElement} element the element
 * @param {Panel} panel the panel
 * @param {object} on callbacks: begin() returns what is remembered of the start, null for nothing to
 *   drag; move(start, by) and end(start, by) with the way in pixels of the image
 * @param {boolean} open whether clicks and hovering are meant for the image below
 */
export function drag(element, panel, on, open = false) {
  let from = null;
  const way = (event) => {
    const [x, y] = panel.position(event), { scale } = panel.view;
    return [(x - from.at[0]) / scale, (y - from.at[1]) / scale];
  };
  element.addEventListener("pointerdown", (event) => {
    event.stopPropagation();
    if (event.button !== 0) return;
    element.setPointerCapture(event.pointerId);
    from = { at: panel.position(event), start: on.begin(), dragged: false };
  });
  element.addEventListener("pointermove", (event) => {
    if (!open || from) event.stopPropagation();
    if (!from) return;
    const [x, y] = panel.position(event);
    from.dragged ||= Math.hypot(x - from.at[0], y - from.at[1]) > CLICK_TOLERANCE;
    if (from.dragged && from.start !== null) on.move(from.start, way(event));
  });
  const end = (event) => {
    if (from?.dragged && from.start !== null) on.end(from.start, way(event));
    else if (from && open && event.type === "pointerup") panel.pick(event);
    from = null;
  };
  element.addEventListener("pointerup", end);
  element.addEventListener("pointercancel", end);
}

/** The step of an arrow key, in pixels; undefined for other keys. */
export function arrowStep(event) {
  const distance = event.shiftKey ? 10 : 1;
  return {
    ArrowLeft: [-distance, 0], ArrowRight: [distance, 0], ArrowUp: [0, -distance], ArrowDown: [0, distance],
  }[event.key];
}

/** Draw a ring with a cross: the point under the pointer, or its match. */
export function drawCrosshair(context, [x, y]) {
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
}

/** Draw text on a small dark background. */
export function drawLabel(context, [x, y], text) {
  context.font = "600 12px system-ui, sans-serif";
  const width = context.measureText(text).width;
  const maxX = context.canvas.clientWidth - width - 14;
  x = Math.max(2, Math.min(x, maxX));
  y = Math.max(12, y);
  context.fillStyle = "rgba(15, 17, 24, 0.78)";
  context.beginPath();
  context.roundRect(x, y - 10, width + 12, 20, 6);
  context.fill();
  context.fillStyle = "#fff";
  context.textBaseline = "middle";
  context.fillText(text, x + 6, y + 0.5);
}

/** Darken what lies beyond a region of the image: x, y, width and height. */
export function drawVeil(context, panel, [x, y, width, height]) {
  const { image } = panel;
  const [left, top] = panel.toStage([x, y]), [right, bottom] = panel.toStage([x + width, y + height]);
  context.fillStyle = "rgba(8, 10, 14, 0.5)";
  context.beginPath();
  context.rect(...panel.toStage([0, 0]), image.width * panel.view.scale, image.height * panel.view.scale);
  context.rect(left, bottom, right - left, top - bottom);
  context.fill("evenodd");
}
