// Pinned pairs of points: marks on both images, and a list of them below.

import { attempt, request } from "./common.js";

const MAX_PINS = 100;

// Twelve colours, distinct from their neighbours on light and dark, then again.
const COLOURS = [
  "#2f6fed", "#e8590c", "#0b9e6c", "#c2255c", "#8f5cf0", "#b8860b",
  "#0a9bb8", "#d6336c", "#5c940d", "#5b4bdb", "#e03131", "#0c8599",
];

const NUMBER = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 1, useGrouping: false });

export class Pins {
  /**
   * @param {HTMLElement} list the list below the images
   * @param {Match} match the panels, and the pair that is matched
   * @param {Function} changed called when pins are added or removed
   */
  constructor(list, match, changed) {
    Object.assign(this, { list, match, changed, pins: [], count: 0, selected: null });
  }

  clear() {
    for (const pin of this.pins) this.#erase(pin);
    Object.assign(this, { pins: [], count: 0 });
  }

  /** Pin a point of the image of that index, 0 or 1, and its match. */
  async add(origin, point) {
    const { match } = this;
    if (!match.pair) return;
    if (this.pins.length >= MAX_PINS) throw new Error(`At most ${MAX_PINS} pairs; remove some first`);
    match.check(origin, point);
    const pin = {
      number: ++this.count, origin, wanted: match.wanted, pose: match.pose, corrected: false, points: [], score: null,
    };
    pin.colour = COLOURS[(pin.number - 1) % COLOURS.length];
    pin.points[origin] = point;
    await this.#transfer(pin);
    this.pins.push(pin);
    this.changed();
    this.#show(pin);
  }

  async #transfer(pin) {
    const [x, y] = pin.points[pin.origin];
    const turn = pin.turn = (pin.turn ?? 0) + 1;
    const route = this.match.route("point", pin.wanted, { source: pin.origin, x, y });
    const found = await (await request(route)).json();
    if (turn !== pin.turn) return;
    pin.matched = [x, y];
    pin.points[1 - pin.origin] = [found.x, found.y];
    Object.assign(pin, { score: found.score, visible: found.visible, corrected: false });
  }

  #show(pin) {
    for (const index of [0, 1]) {
      const point = pin.points[index];
      const button = this.match.panels[index].pin(pin, {
        point,
        text: String(pin.number),
        colour: pin.colour,
        classes: `${isDoubtful(pin) ? "doubtful" : ""} ${pin === this.selected ? "chosen" : ""}`,
        label: `Pair ${pin.number}, ${index ? "second" : "first"} image, x ${Math.round(point[0])}, y ${Math.round(point[1])}, ${scoreText(pin)}`,
        moved: (to, done) => this.#move(pin, index, to, done),
        key: (event) => {
          if (event.key === "Delete" || event.key === "Backspace") this.#remove(pin);
          if (event.key === "Escape") event.target.blur();
        },
      });
      button.onfocus = () => this.#select(pin);
      button.onpointerenter = () => this.#select(pin);
    }
    this.#showRow(pin);
  }

  #showRow(pin) {
    if (!pin.row) {
      pin.row = document.createElement("li");
      pin.row.innerHTML = '<span class="dot"></span><span class="from"></span><span class="arrow" aria-hidden="true">→</span><span class="to"></span><span class="score"></span><button type="button" class="plain" aria-label="Remove">×</button>';
      pin.row.querySelector("button").addEventListener("click", () => this.#remove(pin));
      pin.row.addEventListener("pointerenter", () => this.#select(pin));
      this.list.append(pin.row);
    }
    const part = (name) => pin.row.querySelector(`.${name}`);
    part("dot").textContent = pin.number;
    part("dot").style.setProperty("--colour", pin.colour);
    part("from").textContent = pin.points[0].map((value) => NUMBER.format(value)).join(", ");
    part("to").textContent = pin.points[1].map((value) => NUMBER.format(value)).join(", ");
    part("arrow").textContent = pin.origin ? "←" : "→";
    part("score").textContent = scoreText(pin);
    pin.row.querySelector("button").setAttribute("aria-label", `Remove pair ${pin.number}`);
    pin.row.classList.toggle("chosen", pin === this.selected);
    pin.row.classList.toggle("doubtful", isDoubtful(pin));
  }

  #select(pin) {
    if (this.selected === pin) return;
    const before = this.selected;
    this.selected = pin;
    if (before && this.pins.includes(before)) this.#show(before);
    this.#show(pin);
  }

  /** Moved at its origin, a pin is matched again; moved at its match, it is corrected. */
  #move(pin, index, to, done) {
    const { pair, loaded } = this.match;
    pin.points[index] = to;
    if (index !== pin.origin) {
      pin.corrected = true;
    } else if (done) {
      clearTimeout(pin.timer);
      pin.timer = setTimeout(() => attempt(async () => {
        try {
          await this.#transfer(pin);
        } catch (error) {
          pin.points[index] = pin.matched; // such as beyond its box
          await this.#transfer(pin);
          throw error;
        } finally {
          if (this.pins.includes(pin)) this.#show(pin);
        }
      }), 150);
    } else if (pair?.maps[index].holds(to) && loaded === this.match.route("", pin.wanted)) {
      pin.points[1 - index] = pair.heatmap(index, to).point;
    }
    this.#show(pin);
  }

  #remove(pin) {
    this.#erase(pin);
    this.pins.splice(this.pins.indexOf(pin), 1);
    this.changed();
  }

  #erase(pin) {
    for (const panel of this.match.panels) panel.unpin(pin);
    pin.row?.remove();
    if (this.selected === pin) this.selected = null;
  }
}

export function isDoubtful(pin) {
  return (pin.score < 0.5 || pin.visible === false) && !pin.corrected;
}

function scoreText(pin) {
  if (pin.corrected) return "corrected";
  return pin.score.toFixed(2) + (pin.visible === false ? ", not visible" : "");
}
