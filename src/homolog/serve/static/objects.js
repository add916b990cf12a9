// The boxes that a person draws around objects of an image, one of which is matched at a time.

import { boxColour, Boxes } from "./boxes.js";
import { addElement } from "./panel.js";

export class Objects {
  /**
   * @param {Panel} panel shows the image
   * @param {HTMLElement} bar where the objects are chosen
   * @param {string} which what the image is called: first or second
   * @param {object} on callbacks: changed() when another box, or none, is to be matched; drawn()
   */
  constructor(panel, bar, which, on) {
    Object.assign(this, { panel, bar, which, on, images: new Map(), drawn: null });
    this.boxes = new Boxes(panel, {
      drawn: (box) => this.#add(box),
      select: (number) => this.choose(number),
      changed: (number, box, done) => this.#change(number, box, done),
      remove: (number) => this.#remove(number),
      drawing: () => this.#update(),
    });
    bar.setAttribute("aria-label", `Objects in the ${which} image`);
  }

  /** Show the boxes that were drawn on an image. */
  show(id) {
    this.boxes.clear();
    if (!this.images.has(id)) this.images.set(id, { boxes: new Map(), count: 0, chosen: null });
    this.drawn = this.images.get(id);
    this.#update();
  }

  /** The box that is matched; null for the whole image. */
  get box() {
    return this.drawn?.boxes.get(this.drawn.chosen) ?? null;
  }

  /** What is matched, in words. */
  get text() {
    return this.box ? `box ${this.drawn.chosen}` : "the whole image";
  }

  /** Match the box of a number; null for the whole image. */
  choose(number) {
    if (this.drawn.chosen === number) return;
    this.drawn.chosen = number;
    this.#update();
    this.on.changed();
  }

  /** Draw a box with the next drag on the image, or no longer. */
  draw(on = !this.boxes.drawing) {
    this.boxes.setDrawing(on);
  }

  #add(box) {
    const number = ++this.drawn.count;
    this.drawn.boxes.set(number, box);
    this.on.drawn();
    this.choose(number);
    this.boxes.focus(number);
  }

  #change(number, box, done) {
    this.drawn.boxes.set(number, box);
    this.#update();
    clearTimeout(this.timer);
    // Several steps in a row are one change.
    if (done) this.timer = setTimeout(() => this.on.changed(), 250);
  }

  #remove(number) {
    this.drawn.boxes.delete(number);
    this.boxes.hide(number);
    this.panel.stage.focus({ preventScroll: true });
    if (this.drawn.chosen === number) this.choose(null);
    else this.#update();
  }

  #update() {
    if (!this.drawn) return;
    const { boxes, chosen } = this.drawn;
    for (const [number, box] of boxes) {
      this.boxes.show(number, {
        box, text: String(number), name: `box ${number}`, colour: boxColour(number - 1), current: number === chosen,
      });
    }
    const focused = this.bar.contains(document.activeElement) ? document.activeElement.dataset.name : null;
    this.bar.replaceChildren();
    if (boxes.size > 0) {
      this.#button("Whole image", "Whole image", chosen === null, () => this.choose(null));
      for (const number of boxes.keys()) {
        const button = this.#button(String(number), `Box ${number}`, number === chosen, () => this.choose(number));
        button.style.setProperty("--colour", boxColour(number - 1));
        button.classList.add("number");
      }
    }
    const draw = this.#button("Draw box", "Draw box", this.boxes.drawing, () => this.draw());
    draw.title = "Draw a box around an object, to match it alone (B, or Shift and drag)";
    this.bar.querySelector(`[data-name="${focused}"]`)?.focus();
  }

  #button(text, name, pressed, click) {
    const button = addElement("button", "quiet", this.bar);
    button.type = "button";
    button.textContent = text;
    button.dataset.name = name;
    button.setAttribute("aria-label", `${name}, ${this.which} image`);
    button.setAttribute("aria-pressed", pressed);
    button.addEventListener("click", click);
    return button;
  }
}
