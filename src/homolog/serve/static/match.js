// Two pictures side by side: heatmaps, pinned pairs, poses, matches and the warp.

import { ask, attempt } from "./common.js";
import { download } from "./export.js";
import { Pair } from "./heat.js";
import { crosshair, label, Panel } from "./panel.js";

const $ = (id) => document.getElementById(id);

const POSES = {
  identity: "As it is", flip: "Flipped", rotate90: "90° left", rotate180: "180°",
  "rotate-90": "90° right",
};

// Twelve colours that tell neighbours apart on light and dark, then again.
const COLOURS = [
  "#2f6fed", "#e8590c", "#0b9e6c", "#c2255c", "#8f5cf0", "#b8860b",
  "#0a9bb8", "#d6336c", "#5c940d", "#5b4bdb", "#e03131", "#0c8599",
];

const NUMBER = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 1, useGrouping: false });

export class Match {
  /** @param {object} start what the server says it has */
  constructor(start) {
    Object.assign(this, {
      start, pictures: [null, null], pose: "identity", kept: new Map(), pins: [], number: 0,
      pair: null, hovered: null, found: null, matches: null, chosen: null, asked: 0,
    });
    this.panels = [0, 1].map((side) => {
      const panel = new Panel(this.#section(side).querySelector(".stage"), {
        hover: (point) => this.#hover(side, point),
        pick: (point) => attempt(() => this.#pick(side, point)),
        draw: (context) => this.#draw(side, context),
      });
      this.#accept(side);
      return panel;
    });
    this.#poses();
    $("example").addEventListener("click", () => attempt(() => this.#useIds(start.example)));
    $("show-heat").addEventListener("click", () => this.#toggle("show-heat"));
    $("show-matches").addEventListener("click", () => this.#toggle("show-matches"));
    $("show-warp").addEventListener("click", () => this.#toggle("show-warp"));
    $("warp-slider").addEventListener("input", () => this.#showWarp());
    for (const button of $("export").children) {
      button.addEventListener("click", () => attempt(() => download(button.dataset.form, this)));
    }
    this.#folder();
    this.#update();
  }

  /** A key that nothing else has taken. */
  key(event) {
    if (!this.pair) return;
    const names = { h: "show-heat", m: "show-matches", w: "show-warp" };
    if (event.key in names) this.#toggle(names[event.key]);
    if (event.key === "f") {
      const { poses } = this.start;
      attempt(() => this.#pair(poses[(poses.indexOf(this.pose) + 1) % poses.length]));
    }
  }

  #section(side) {
    return document.querySelector(`.panel[data-side="${side}"]`);
  }

  #on(name) {
    return $(name).getAttribute("aria-pressed") === "true";
  }

  // Pictures come in.

  #accept(side) {
    const section = this.#section(side), stage = section.querySelector(".stage");
    const input = section.querySelector("input");
    const empty = document.createElement("button");
    empty.type = "button";
    empty.className = "empty";
    empty.innerHTML = "<b></b><span></span>";
    empty.firstChild.textContent = side ? "Second picture" : "First picture";
    empty.lastChild.textContent = this.start.folder.length > 0
      ? "Pick one below, drop one here, or choose a file" : "Drop it here, or choose a file";
    stage.prepend(empty);
    for (const button of [empty, section.querySelector(".choose")]) {
      button.addEventListener("click", () => input.click());
    }
    input.addEventListener("change", () => {
      attempt(() => this.#send(side, [...input.files]));
      input.value = "";
    });
    section.addEventListener("dragover", (event) => {
      event.preventDefault();
      section.classList.add("over");
    });
    section.addEventListener("dragleave", () => section.classList.remove("over"));
    section.addEventListener("drop", (event) => {
      event.preventDefault();
      section.classList.remove("over");
      const id = event.dataTransfer.getData("application/x-homolog");
      if (id) attempt(() => this.#useId(side, id));
      else attempt(() => this.#send(side, [...event.dataTransfer.files]));
    });
  }

  /** Two files at once go to both sides. */
  async #send(side, files) {
    if (files.length === 0) return;
    if (files.length > 2) throw new Error("Two pictures at most");
    const sides = files.length === 2 ? [0, 1] : [side];
    await Promise.all(files.map((file, i) => this.#busy(sides[i], async () => {
      if (file.size > this.start.max_bytes) {
        throw new Error(`${file.name} has more than ${this.start.max_bytes / 1e6} MB`);
      }
      const path = `/api/pictures?name=${encodeURIComponent(file.name)}`;
      const headers = { "content-type": "application/octet-stream" };
      const sent = await ask(path, { method: "POST", body: file, headers });
      this.#set(sides[i], await sent.json());
    })));
    await this.#pair("identity");
  }

  async #useIds(ids) {
    await Promise.all(ids.map((id, side) => this.#busy(side, async () => {
      this.#set(side, await (await ask(`/api/pictures/${id}`)).json());
    })));
    await this.#pair("identity");
  }

  async #useId(side, id) {
    await this.#busy(side, async () => {
      this.#set(side, await (await ask(`/api/pictures/${id}`)).json());
    });
    await this.#pair("identity");
  }

  async #busy(side, work) {
    const section = this.#section(side);
    section.classList.add("busy");
    try {
      return await work();
    } finally {
      section.classList.remove("busy");
    }
  }

  #set(side, picture) {
    picture.address = `/api/pictures/${picture.id}/image`;
    this.pictures[side] = picture;
    this.kept.clear();
    this.pair = null;
    for (const pin of this.pins) this.#unpin(pin);
    this.pins = [];
    this.number = 0;
    const section = this.#section(side);
    section.querySelector(".name").textContent = picture.name;
    section.querySelector(".stage").setAttribute("aria-label", `${picture.name}; arrow keys point, Enter pins`);
    this.panels[side].show(picture);
    const shapes = this.pictures.filter(Boolean).map(({ width, height }) => width / height);
    $("panels").style.setProperty("--shape", Math.max(0.8, Math.min(...shapes)));
    this.#update();
  }

  #folder() {
    const { folder } = this.start;
    $("folder").hidden = folder.length === 0;
    $("start").hidden = folder.length > 0;
    for (const { id, name } of folder) {
      const button = document.createElement("button");
      const image = document.createElement("img");
      button.type = "button";
      button.title = name;
      button.draggable = true;
      image.loading = "lazy";
      image.alt = name;
      image.src = `/api/pictures/${id}/thumbnail`;
      button.append(image);
      button.addEventListener("click", () => {
        const free = this.pictures.findIndex((picture) => !picture);
        attempt(() => this.#useId(free < 0 ? this.next ?? 0 : free, id));
        this.next = free < 0 ? 1 - (this.next ?? 0) : 0;
      });
      button.addEventListener("dragstart", (event) => {
        event.dataTransfer.setData("application/x-homolog", id);
      });
      $("strip").append(button);
    }
  }

  // Pairs and poses.

  #route(pose = this.pose) {
    return `/api/pairs/${this.pictures[0].id}/${this.pictures[1].id}/${encodeURIComponent(pose)}`;
  }

  async #pair(pose) {
    if (!this.pictures.every(Boolean)) return;
    const asked = ++this.asked;
    if (!this.kept.has(pose)) {
      const path = this.#route(pose);
      const pair = new Pair(await (await ask(path)).arrayBuffer());
      if (asked !== this.asked) return;
      this.kept.set(pose, pair);
    }
    this.pose = pose;
    this.pair = this.kept.get(pose);
    this.matches = null;
    this.panels[1].setWarp(null);
    this.#update();
    this.#paint();
    await Promise.all([this.#loadMatches(), this.#showWarp()]);
  }

  #poses() {
    for (const name of this.start.poses) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "pose";
      button.dataset.pose = name;
      button.append(POSES[name], document.createElement("small"));
      button.addEventListener("click", () => attempt(() => this.#pair(name)));
      $("poses").append(button);
    }
  }

  #update() {
    const { pair } = this;
    $("tools").hidden = $("pairs").hidden = !pair;
    $("start").hidden = this.start.folder.length > 0 || this.pictures.some(Boolean);
    document.body.classList.toggle("ready", Boolean(pair));
    const least = Math.min(...[...this.kept.values()].map(({ distance }) => distance));
    for (const button of $("poses").querySelectorAll("button")) {
      const tried = this.kept.get(button.dataset.pose), small = button.querySelector("small");
      button.setAttribute("aria-pressed", button.dataset.pose === this.pose);
      small.textContent = tried ? `IMD ${tried.distance.toFixed(3)}` : "IMD –";
      small.classList.toggle("least", this.kept.size > 1 && tried?.distance === least);
      button.title = "Instance matching distance: the less, the nearer is the first picture to the second";
    }
    if (!pair) return;
    const alike = pair.sameKind === null ? "" : pair.score >= pair.sameKind
      ? "same kind of thing" : "perhaps not the same kind";
    $("verdict").replaceChildren(...["pair score ", pair.score.toFixed(2), alike].map((text, i) => {
      const part = document.createElement(i === 1 ? "b" : "span");
      part.textContent = text;
      return part;
    }));
    $("note").hidden = !pair.note;
    $("note").textContent = pair.note ? "Flipped: what is left on the first picture is found on the right of the second." : "";
    $("hint").hidden = this.pins.length > 0;
  }

  // What is pointed at.

  #hover(side, point) {
    if (!point) {
      if (this.hovered?.side === side) this.hovered = null;
    } else {
      this.hovered = { side, point };
    }
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.#paint();
    });
  }

  #paint() {
    this.found = null;
    const { hovered, pair } = this;
    if (pair && hovered) this.found = pair.heat(hovered.side, hovered.point);
    for (const side of [0, 1]) {
      const panel = this.panels[side];
      if (this.found && hovered.side !== side && this.#on("show-heat")) {
        panel.showHeat(this.found, pair.sides[side]);
      } else {
        panel.clearHeat();
      }
      panel.redraw();
    }
  }

  #draw(side, context) {
    const panel = this.panels[side];
    if (this.matches && this.#on("show-matches")) {
      this.matches.points[side].forEach((point, i) => {
        const [x, y] = panel.toStage(point), score = this.matches.scores[i];
        context.beginPath();
        context.arc(x, y, 3 + 3.5 * score, 0, 2 * Math.PI);
        context.fillStyle = this.matches.colours[i];
        context.globalAlpha = 0.35 + 0.65 * score;
        context.fill();
        context.globalAlpha = 1;
        context.lineWidth = 1.5;
        context.strokeStyle = "#fff";
        context.stroke();
      });
    }
    if (!this.found) return;
    const own = this.hovered.side === side;
    const place = panel.toStage(own ? this.hovered.point : this.found.point);
    crosshair(context, place);
    if (!own) label(context, [place[0] + 14, place[1] - 16], this.found.score.toFixed(2));
  }

  // What is pinned.

  async #pick(side, point) {
    if (!this.pair) return;
    if (this.pins.length >= 100) throw new Error("A hundred pairs at most; remove some first");
    const pin = {
      number: ++this.number, origin: side, pose: this.pose, corrected: false, points: [], score: null,
    };
    pin.colour = COLOURS[(pin.number - 1) % COLOURS.length];
    pin.points[side] = point;
    await this.#locate(pin);
    this.pins.push(pin);
    this.#update();
    this.#show(pin);
  }

  async #locate(pin) {
    const [x, y] = pin.points[pin.origin];
    const turn = pin.turn = (pin.turn ?? 0) + 1;
    const query = new URLSearchParams({ source: pin.origin, x, y });
    const found = await (await ask(`${this.#route(pin.pose)}/point?${query}`)).json();
    if (turn !== pin.turn) return;
    pin.points[1 - pin.origin] = [found.x, found.y];
    Object.assign(pin, { score: found.score, corrected: false });
  }

  #show(pin) {
    for (const side of [0, 1]) {
      const point = pin.points[side];
      const button = this.panels[side].pin(pin, {
        point,
        text: String(pin.number),
        colour: pin.colour,
        classes: `${pin.score < 0.5 && !pin.corrected ? "doubtful" : ""} ${pin === this.chosen ? "chosen" : ""}`,
        label: `Pair ${pin.number}, ${side ? "second" : "first"} picture, x ${Math.round(point[0])}, y ${Math.round(point[1])}, ${said(pin)}`,
        moved: (to, done) => this.#moved(pin, side, to, done),
        key: (event) => {
          if (event.key === "Delete" || event.key === "Backspace") this.#remove(pin);
          if (event.key === "Escape") event.target.blur();
        },
      });
      button.onfocus = () => this.#choose(pin);
      button.onpointerenter = () => this.#choose(pin);
    }
    this.#row(pin);
  }

  #row(pin) {
    if (!pin.row) {
      pin.row = document.createElement("li");
      pin.row.innerHTML = '<span class="dot"></span><span class="from"></span><span class="arrow" aria-hidden="true">→</span><span class="to"></span><span class="score"></span><button type="button" class="plain" aria-label="Remove">×</button>';
      pin.row.querySelector("button").addEventListener("click", () => this.#remove(pin));
      pin.row.addEventListener("pointerenter", () => this.#choose(pin));
      $("pins").append(pin.row);
    }
    const part = (name) => pin.row.querySelector(`.${name}`);
    part("dot").textContent = pin.number;
    part("dot").style.setProperty("--colour", pin.colour);
    part("from").textContent = pin.points[0].map((value) => NUMBER.format(value)).join(", ");
    part("to").textContent = pin.points[1].map((value) => NUMBER.format(value)).join(", ");
    part("arrow").textContent = pin.origin ? "←" : "→";
    part("score").textContent = said(pin);
    pin.row.querySelector("button").setAttribute("aria-label", `Remove pair ${pin.number}`);
    pin.row.classList.toggle("chosen", pin === this.chosen);
    pin.row.classList.toggle("doubtful", pin.score < 0.5 && !pin.corrected);
  }

  #choose(pin) {
    if (this.chosen === pin) return;
    const before = this.chosen;
    this.chosen = pin;
    if (before && this.pins.includes(before)) this.#show(before);
    this.#show(pin);
  }

  /** Moved where it was asked for, the answer follows; moved where it was found, it is corrected. */
  #moved(pin, side, to, done) {
    pin.points[side] = to;
    if (side !== pin.origin) {
      pin.corrected = true;
    } else if (done) {
      clearTimeout(pin.later);
      pin.later = setTimeout(() => attempt(async () => {
        await this.#locate(pin);
        if (this.pins.includes(pin)) this.#show(pin);
      }), 150);
    } else if (this.pair && pin.pose === this.pose) {
      pin.points[1 - side] = this.pair.heat(side, to).point;
    }
    this.#show(pin);
  }

  #remove(pin) {
    this.#unpin(pin);
    this.pins.splice(this.pins.indexOf(pin), 1);
    this.#update();
  }

  #unpin(pin) {
    for (const panel of this.panels) panel.unpin(pin);
    pin.row?.remove();
    if (this.chosen === pin) this.chosen = null;
  }

  // What can be shown besides.

  #toggle(name) {
    $(name).setAttribute("aria-pressed", !this.#on(name));
    if (name === "show-matches") attempt(() => this.#loadMatches());
    if (name === "show-warp") attempt(() => this.#showWarp());
    this.#paint();
  }

  async #loadMatches() {
    if (!this.#on("show-matches") || !this.pair || this.matches) return;
    const { pair } = this;
    const found = await (await ask(`${this.#route()}/matches`)).json();
    if (pair !== this.pair) return;
    // A colour by place in the first picture, so that layouts can be compared at a glance.
    const points = found.keypoints0;
    const middle = [0, 1].map((axis) => points.reduce((sum, p) => sum + p[axis], 0) / points.length);
    this.matches = {
      points: [points, found.keypoints1],
      scores: found.matching_scores,
      colours: points.map(([x, y]) => `hsl(${(Math.atan2(y - middle[1], x - middle[0]) * 180) / Math.PI + 180} 78% 52%)`),
    };
    this.#paint();
  }

  async #showWarp() {
    const on = this.#on("show-warp");
    $("warp-slider").hidden = !on;
    const opacity = $("warp-slider").querySelector("input").value / 100;
    this.panels[1].setWarp(on && this.pair ? `${this.#route()}/warp` : null, opacity);
  }
}

function said(pin) {
  return pin.corrected ? "corrected" : pin.score.toFixed(2);
}

