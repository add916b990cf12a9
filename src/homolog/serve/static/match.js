// Two images side by side: heatmaps, pinned pairs, poses, mutual matches and the warp.

import { acceptFiles, showFolder, upload } from "./chooser.js";
import { attempt, request } from "./common.js";
import { download } from "./export.js";
import { Pair } from "./heat.js";
import { Objects } from "./objects.js";
import { drawCrosshair, drawLabel, drawVeil, Panel } from "./panel.js";
import { Pins } from "./pins.js";

const $ = (id) => document.getElementById(id);

const POSES = {
  identity: "As it is", flip: "Flipped", rotate90: "90° left", rotate180: "180°",
  "rotate-90": "90° right",
};

const MAX_PAIRS = 12; // kept, to go back to a pose or a box without asking the server again

export class Match {
  /** @param {object} options what the server offers: `/api/start` */
  constructor(options) {
    Object.assign(this, {
      options, images: [null, null], pose: "identity", zoom: options.zoom, pairs: new Map(), pair: null,
      loaded: null, hovered: null, heatmap: null, matches: null, requests: 0,
    });
    this.panels = [0, 1].map((index) => {
      const panel = new Panel(this.#section(index).querySelector(".stage"), {
        hover: (point) => this.#hover(index, point),
        pick: (point) => attempt(() => this.pinned.add(index, point)),
        draw: (context) => this.#drawMarks(index, context),
      });
      acceptFiles(this.#section(index), index, options.folder.length > 0, {
        files: (files) => attempt(() => this.#upload(index, files)),
        stored: (id) => attempt(() => this.#loadImage(index, id)),
      });
      return panel;
    });
    this.objects = this.panels.map((panel, index) => new Objects(
      panel, this.#section(index).querySelector(".objects"), index ? "second" : "first", {
        changed: () => attempt(() => this.#loadPair()),
        drawn: () => this.#draw(false),
      },
    ));
    this.pinned = new Pins($("pins"), this, () => this.#update());
    this.#addPoses();
    $("example").addEventListener("click", () => attempt(() => this.#loadImages(options.example)));
    $("show-heat").addEventListener("click", () => this.#toggle("show-heat"));
    $("show-matches").addEventListener("click", () => this.#toggle("show-matches"));
    $("show-warp").addEventListener("click", () => this.#toggle("show-warp"));
    $("zoom").addEventListener("click", () => this.#toggleZoom());
    $("warp-slider").addEventListener("input", () => this.#showWarp());
    for (const button of $("export").children) {
      button.addEventListener("click", () => attempt(() => download(button.dataset.format, this)));
    }
    showFolder(options.folder, (id) => this.#pick(id));
    this.#update();
  }

  get pins() {
    return this.pinned.pins;
  }

  /** Handle a key press that is meant for the page. */
  key(event) {
    if (event.key === "b") this.#draw(!this.objects.some(({ boxes }) => boxes.drawing));
    if (event.key === "Escape") this.#draw(false);
    if (!this.pair) return;
    if (event.key === "z") this.#toggleZoom();
    const names = { h: "show-heat", m: "show-matches", w: "show-warp" };
    if (event.key in names) this.#toggle(names[event.key]);
    if (event.key === "f") {
      const { poses } = this.options;
      attempt(() => this.#loadPair(poses[(poses.indexOf(this.pose) + 1) % poses.length]));
    }
  }

  /** What is matched: pose, boxes and zoom. */
  get wanted() {
    return { pose: this.pose, boxes: this.objects.map(({ box }) => box), zoom: this.zoom };
  }

  /** Address of something that the server computes for the pair: `point`, `matches` or `warp`. */
  route(name = "", { pose, boxes, zoom } = this.wanted, parameters = {}) {
    const query = new URLSearchParams(parameters);
    boxes.forEach((box, index) => { if (box) query.set(`box${index}`, box.join()); });
    if (zoom !== "none") query.set("zoom", zoom);
    const path = `/api/pairs/${this.images[0].id}/${this.images[1].id}/${encodeURIComponent(pose)}${name && `/${name}`}`;
    return query.size ? `${path}?${query}` : path;
  }

  /** Refuse a point that lies beyond what is matched. */
  check(index, point) {
    if (this.loaded !== this.route() || this.pair.maps[index].holds(point) || this.zoom !== "none") return;
    throw new Error(`That is outside ${this.objects[index].text}. Match the whole image, or make the box larger.`);
  }

  #section(index) {
    return document.querySelector(`.panel[data-index="${index}"]`);
  }

  #isOn(name) {
    return $(name).getAttribute("aria-pressed") === "true";
  }

  // Choosing images.

  /** Upload one file for a panel, or two for both. */
  async #upload(index, files) {
    if (files.length === 0) return;
    if (files.length > 2) throw new Error("Two images at most");
    const indices = files.length === 2 ? [0, 1] : [index];
    await Promise.all(files.map((file, i) => this.#busy(indices[i], async () => {
      this.#setImage(indices[i], await upload(file, this.options.max_bytes));
    })));
    await this.#loadPair("identity");
  }

  async #loadImages(ids) {
    await Promise.all(ids.map((id, index) => this.#fetchImage(index, id)));
    await this.#loadPair("identity");
  }

  async #loadImage(index, id) {
    await this.#fetchImage(index, id);
    await this.#loadPair("identity");
  }

  #fetchImage(index, id) {
    return this.#busy(index, async () => {
      this.#setImage(index, await (await request(`/api/pictures/${id}`)).json());
    });
  }

  /** Show an image of the folder where none is, or else on either side in turn. */
  #pick(id) {
    const free = this.images.findIndex((each) => !each);
    attempt(() => this.#loadImage(free < 0 ? this.next ?? 0 : free, id));
    this.next = free < 0 ? 1 - (this.next ?? 0) : 0;
  }

  /** Run a function while the panel shows that it is busy. */
  async #busy(index, work) {
    const section = this.#section(index);
    section.classList.add("busy");
    try {
      return await work();
    } finally {
      section.classList.remove("busy");
    }
  }

  #setImage(index, image) {
    image.address = `/api/pictures/${image.id}/image`;
    this.images[index] = image;
    this.pairs.clear();
    Object.assign(this, { loaded: null, pair: null, whole: null, shown: null, heatmap: null, matches: null });
    this.pinned.clear();
    const section = this.#section(index);
    section.querySelector(".name").textContent = image.name;
    section.querySelector(".stage").setAttribute("aria-label", `${image.name}; arrow keys point, Enter pins`);
    this.panels[index].show(image);
    this.objects[index].show(image.id);
    const shapes = this.images.filter(Boolean).map(({ width, height }) => width / height);
    $("panels").style.setProperty("--shape", Math.max(0.8, Math.min(...shapes)));
    this.#update();
  }

  // Pairs and poses.

  async #loadPair(pose = this.pose) {
    if (!this.images.every(Boolean)) return;
    const number = ++this.requests, wanted = { ...this.wanted, pose }, route = this.route("", wanted);
    let pair;
    try {
      pair = await this.#busy(0, () => this.#busy(1, () => this.#fetchPair(route)));
    } catch (error) {
      if (number === this.requests && this.loaded !== this.route()) this.#setPair(null, null);
      throw error;
    }
    if (number !== this.requests) return;
    this.pose = pose;
    this.#setPair(pair, route);
    await Promise.all([this.#loadMatches(), this.#showWarp(), this.#loadWhole(wanted)]);
  }

  async #fetchPair(route) {
    const pair = this.pairs.get(route) ?? new Pair(await (await request(route)).arrayBuffer());
    this.pairs.delete(route);
    this.pairs.set(route, pair);
    if (this.pairs.size > MAX_PAIRS) this.pairs.delete(this.pairs.keys().next().value);
    return pair;
  }

  #setPair(pair, route) {
    Object.assign(this, { pair, loaded: route, whole: null, matches: null });
    this.panels[1].setWarp(null);
    this.#update();
    this.#paint();
  }

  /** With zoom, points beyond the regions are matched in the whole images. */
  async #loadWhole({ pose }) {
    const { pair } = this;
    if (this.zoom === "none" || pair.maps.every(({ region }) => !region)) return;
    const whole = await this.#fetchPair(this.route("", { pose, boxes: [null, null], zoom: "none" }));
    if (pair === this.pair) this.whole = whole;
  }

  #toggleZoom() {
    this.zoom = this.zoom === "none" ? "auto" : "none";
    this.#update();
    attempt(() => this.#loadPair());
  }

  #addPoses() {
    for (const name of this.options.poses) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "pose";
      button.dataset.pose = name;
      button.append(POSES[name], document.createElement("small"));
      button.addEventListener("click", () => attempt(() => this.#loadPair(name)));
      $("poses").append(button);
    }
  }

  /** The instance matching distance in each pose that was tried, with these boxes and zoom. */
  distances() {
    if (!this.pair) return new Map();
    const loaded = this.options.poses.map((pose) => [pose, this.pairs.get(this.route("", { ...this.wanted, pose }))]);
    return new Map(loaded.filter(([, pair]) => pair).map(([pose, { distance }]) => [pose, distance]));
  }

  #update() {
    const { pair } = this;
    $("tools").hidden = $("pairs").hidden = !pair;
    $("start").hidden = this.options.folder.length > 0 || this.images.some(Boolean);
    document.body.classList.toggle("ready", Boolean(pair));
    $("zoom").setAttribute("aria-pressed", this.zoom !== "none");
    const distances = this.distances(), least = Math.min(...distances.values());
    for (const button of $("poses").querySelectorAll("button")) {
      const distance = distances.get(button.dataset.pose), small = button.querySelector("small");
      button.setAttribute("aria-pressed", button.dataset.pose === this.pose);
      small.textContent = distance === undefined ? "IMD –" : `IMD ${distance.toFixed(3)}`;
      small.classList.toggle("least", distances.size > 1 && distance === least);
      button.title = "Instance matching distance: the smaller, the more similar is the first image to the second";
    }
    if (!pair) return;
    const threshold = pair.sameCategoryThreshold;
    const verdict = threshold === null ? "" : pair.score >= threshold
      ? "same kind of object" : "perhaps not the same kind of object";
    $("verdict").replaceChildren(...["pair score ", pair.score.toFixed(2), verdict].map((text, i) => {
      const part = document.createElement(i === 1 ? "b" : "span");
      part.textContent = text;
      return part;
    }));
    $("note").hidden = !pair.warning;
    $("note").textContent = pair.warning ? "Flipped: what is left in the first image is matched to the right in the second." : "";
    $("hint").hidden = this.pins.length > 0;
  }

  /** Draw a box with the next drag on either image, or no longer. */
  #draw(on) {
    for (const objects of this.objects) objects.draw(on);
  }

  // The point under the pointer.

  #hover(index, point) {
    if (!point) {
      if (this.hovered?.index === index) this.hovered = null;
    } else {
      this.hovered = { index, point };
    }
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.#paint();
    });
  }

  /** The pair that matches a point of an image: without the regions if it lies beyond them. */
  #pairAt({ index, point }) {
    return [this.pair, this.whole].find((pair) => pair?.maps[index].holds(point)) ?? null;
  }

  #paint() {
    const { hovered } = this, pair = hovered && this.#pairAt(hovered);
    this.shown = pair ?? this.pair;
    // What was pointed at is kept with its heatmap: the pointer may be gone when both are drawn.
    this.heatmap = pair ? { ...pair.heatmap(hovered.index, hovered.point), hovered } : null;
    for (const index of [0, 1]) {
      const panel = this.panels[index];
      if (this.heatmap && hovered.index !== index && this.#isOn("show-heat")) {
        panel.showHeat(this.heatmap, pair.maps[index]);
      } else {
        panel.clearHeat();
      }
      panel.redraw();
    }
  }

  #drawMarks(index, context) {
    const panel = this.panels[index];
    const region = this.shown?.maps[index].region;
    if (region) drawVeil(context, panel, region);
    if (this.matches && this.#isOn("show-matches")) {
      this.matches.points[index].forEach((point, i) => {
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
    if (!this.heatmap) return;
    const { hovered, point, score, visible } = this.heatmap, isSource = hovered.index === index;
    const position = panel.toStage(isSource ? hovered.point : point);
    drawCrosshair(context, position);
    const label = score.toFixed(2) + (visible === false ? ", not visible" : "");
    if (!isSource) drawLabel(context, [position[0] + 14, position[1] - 16], label);
  }

  // Layers that can be switched on.

  #toggle(name) {
    $(name).setAttribute("aria-pressed", !this.#isOn(name));
    if (name === "show-matches") attempt(() => this.#loadMatches());
    if (name === "show-warp") attempt(() => this.#showWarp());
    this.#paint();
  }

  async #loadMatches() {
    if (!this.#isOn("show-matches") || !this.pair || this.matches) return;
    const { pair } = this;
    const found = await (await request(this.route("matches"))).json();
    if (pair !== this.pair) return;
    // Colours by position in the first image, so that both layouts can be compared at a glance.
    const points = found.keypoints0;
    const centre = [0, 1].map((axis) => points.reduce((sum, p) => sum + p[axis], 0) / points.length);
    this.matches = {
      points: [points, found.keypoints1],
      scores: found.matching_scores,
      colours: points.map(([x, y]) => `hsl(${(Math.atan2(y - centre[1], x - centre[0]) * 180) / Math.PI + 180} 78% 52%)`),
    };
    this.#paint();
  }

  async #showWarp() {
    const on = this.#isOn("show-warp");
    $("warp-slider").hidden = !on;
    const opacity = $("warp-slider").querySelector("input").value / 100;
    const address = on && this.pair ? this.route("warp") : null;
    this.panels[1].setWarp(address, opacity, this.pair?.maps[1].bounds);
  }
}
