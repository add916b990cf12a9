// Two images side by side: heatmaps, pinned pairs, poses, mutual matches and the warp.

import { attempt, request } from "./common.js";
import { download } from "./export.js";
import { Pair } from "./heat.js";
import { drawCrosshair, drawLabel, Panel } from "./panel.js";
import { Pins } from "./pins.js";

const $ = (id) => document.getElementById(id);

const POSES = {
  identity: "As it is", flip: "Flipped", rotate90: "90° left", rotate180: "180°",
  "rotate-90": "90° right",
};

export class Match {
  /** @param {object} options what the server offers: `/api/start` */
  constructor(options) {
    Object.assign(this, {
      options, images: [null, null], pose: "identity", pairs: new Map(), pair: null,
      hovered: null, heatmap: null, matches: null, requests: 0,
    });
    this.panels = [0, 1].map((index) => {
      const panel = new Panel(this.#section(index).querySelector(".stage"), {
        hover: (point) => this.#hover(index, point),
        pick: (point) => attempt(() => this.pinned.add(index, point)),
        draw: (context) => this.#draw(index, context),
      });
      this.#acceptFiles(index);
      return panel;
    });
    this.pinned = new Pins($("pins"), this, () => this.#update());
    this.#addPoses();
    $("example").addEventListener("click", () => attempt(() => this.#loadImages(options.example)));
    $("show-heat").addEventListener("click", () => this.#toggle("show-heat"));
    $("show-matches").addEventListener("click", () => this.#toggle("show-matches"));
    $("show-warp").addEventListener("click", () => this.#toggle("show-warp"));
    $("warp-slider").addEventListener("input", () => this.#showWarp());
    for (const button of $("export").children) {
      button.addEventListener("click", () => attempt(() => download(button.dataset.format, this)));
    }
    this.#addFolder();
    this.#update();
  }

  get pins() {
    return this.pinned.pins;
  }

  /** Handle a key press that is meant for the page. */
  key(event) {
    if (!this.pair) return;
    const names = { h: "show-heat", m: "show-matches", w: "show-warp" };
    if (event.key in names) this.#toggle(names[event.key]);
    if (event.key === "f") {
      const { poses } = this.options;
      attempt(() => this.#loadPair(poses[(poses.indexOf(this.pose) + 1) % poses.length]));
    }
  }

  /** Address of what the server computes for the pair in a pose. */
  route(pose = this.pose) {
    return `/api/pairs/${this.images[0].id}/${this.images[1].id}/${encodeURIComponent(pose)}`;
  }

  #section(index) {
    return document.querySelector(`.panel[data-index="${index}"]`);
  }

  #isOn(name) {
    return $(name).getAttribute("aria-pressed") === "true";
  }

  // Choosing images.

  #acceptFiles(index) {
    const section = this.#section(index), stage = section.querySelector(".stage");
    const input = section.querySelector("input");
    const empty = document.createElement("button");
    empty.type = "button";
    empty.className = "empty";
    empty.innerHTML = "<b></b><span></span>";
    empty.firstChild.textContent = index ? "Second image" : "First image";
    empty.lastChild.textContent = this.options.folder.length > 0
      ? "Pick one below, drop one here, or choose a file" : "Drop it here, or choose a file";
    stage.prepend(empty);
    for (const button of [empty, section.querySelector(".choose")]) {
      button.addEventListener("click", () => input.click());
    }
    input.addEventListener("change", () => {
      attempt(() => this.#upload(index, [...input.files]));
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
      if (id) attempt(() => this.#loadImage(index, id));
      else attempt(() => this.#upload(index, [...event.dataTransfer.files]));
    });
  }

  /** Upload one file for a panel, or two for both. */
  async #upload(index, files) {
    if (files.length === 0) return;
    if (files.length > 2) throw new Error("Two images at most");
    const indices = files.length === 2 ? [0, 1] : [index];
    await Promise.all(files.map((file, i) => this.#busy(indices[i], async () => {
      if (file.size > this.options.max_bytes) {
        throw new Error(`${file.name} has more than ${this.options.max_bytes / 1e6} MB`);
      }
      const path = `/api/pictures?name=${encodeURIComponent(file.name)}`;
      const headers = { "content-type": "application/octet-stream" };
      const answer = await request(path, { method: "POST", body: file, headers });
      this.#setImage(indices[i], await answer.json());
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
    this.pair = null;
    this.pinned.clear();
    const section = this.#section(index);
    section.querySelector(".name").textContent = image.name;
    section.querySelector(".stage").setAttribute("aria-label", `${image.name}; arrow keys point, Enter pins`);
    this.panels[index].show(image);
    const shapes = this.images.filter(Boolean).map(({ width, height }) => width / height);
    $("panels").style.setProperty("--shape", Math.max(0.8, Math.min(...shapes)));
    this.#update();
  }

  #addFolder() {
    const { folder } = this.options;
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
        const free = this.images.findIndex((each) => !each);
        attempt(() => this.#loadImage(free < 0 ? this.next ?? 0 : free, id));
        this.next = free < 0 ? 1 - (this.next ?? 0) : 0;
      });
      button.addEventListener("dragstart", (event) => {
        event.dataTransfer.setData("application/x-homolog", id);
      });
      $("strip").append(button);
    }
  }

  // Pairs and poses.

  async #loadPair(pose) {
    if (!this.images.every(Boolean)) return;
    const number = ++this.requests;
    if (!this.pairs.has(pose)) {
      const pair = new Pair(await (await request(this.route(pose))).arrayBuffer());
      if (number !== this.requests) return;
      this.pairs.set(pose, pair);
    }
    this.pose = pose;
    this.pair = this.pairs.get(pose);
    this.matches = null;
    this.panels[1].setWarp(null);
    this.#update();
    this.#paint();
    await Promise.all([this.#loadMatches(), this.#showWarp()]);
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

  #update() {
    const { pair } = this;
    $("tools").hidden = $("pairs").hidden = !pair;
    $("start").hidden = this.options.folder.length > 0 || this.images.some(Boolean);
    document.body.classList.toggle("ready", Boolean(pair));
    const least = Math.min(...[...this.pairs.values()].map(({ distance }) => distance));
    for (const button of $("poses").querySelectorAll("button")) {
      const loaded = this.pairs.get(button.dataset.pose), small = button.querySelector("small");
      button.setAttribute("aria-pressed", button.dataset.pose === this.pose);
      small.textContent = loaded ? `IMD ${loaded.distance.toFixed(3)}` : "IMD –";
      small.classList.toggle("least", this.pairs.size > 1 && loaded?.distance === least);
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

  #paint() {
    this.heatmap = null;
    const { hovered, pair } = this;
    if (pair && hovered) this.heatmap = pair.heatmap(hovered.index, hovered.point);
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

  #draw(index, context) {
    const panel = this.panels[index];
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
    const isSource = this.hovered.index === index;
    const position = panel.toStage(isSource ? this.hovered.point : this.heatmap.point);
    drawCrosshair(context, position);
    if (!isSource) drawLabel(context, [position[0] + 14, position[1] - 16], this.heatmap.score.toFixed(2));
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
    const found = await (await request(`${this.route()}/matches`)).json();
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
    this.panels[1].setWarp(on && this.pair ? `${this.route()}/warp` : null, opacity);
  }
}
