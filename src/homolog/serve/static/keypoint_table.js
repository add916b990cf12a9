// A table of all keypoints: how many points of each are doubtful, reviewed and corrected; a filter, too.

import { addElement } from "./panel.js";
import { isDoubtful } from "./instances.js";

const $ = (id) => document.getElementById(id);
const MOVED = 0.01; // pixels; what differs by less is as it was predicted

/** Whether a keypoint is not where, or not what, it was predicted to be. */
function isCorrected({ keypoints, homolog }, keypoint) {
  if (!homolog?.scores?.length) return false;
  const [x, y, v] = keypoints.slice(3 * keypoint, 3 * keypoint + 3);
  const [px, py, pv] = homolog.predicted.slice(3 * keypoint, 3 * keypoint + 3);
  return (v > 0) !== (pv > 0) || (v > 0 && Math.max(Math.abs(x - px), Math.abs(y - py)) > MOVED);
}

/**
 * Count the points of each keypoint by its name.
 *
 * @param {Iterable<object>} annotations as in a COCO file
 * @param {Map} categories by their ids
 * @returns {Map} by name: doubtful, reviewed and corrected points, and the sum and number of scores
 */
export function countKeypoints(annotations, categories) {
  const counts = new Map();
  for (const { keypoints: names = [] } of categories.values()) {
    for (const name of names) counts.set(name, { doubtful: 0, reviewed: 0, corrected: 0, sum: 0, scored: 0 });
  }
  for (const annotation of annotations) {
    const { homolog, category_id: category } = annotation;
    (categories.get(category)?.keypoints ?? []).forEach((name, keypoint) => {
      const count = counts.get(name), reviewed = homolog?.reviewed?.includes(keypoint);
      if (isDoubtful(annotation, keypoint)) count.doubtful += 1;
      if (reviewed) count.reviewed += 1;
      if (reviewed && isCorrected(annotation, keypoint)) count.corrected += 1;
      const score = homolog?.scores?.[keypoint];
      if (typeof score !== "number") return;
      count.sum += score;
      count.scored += 1;
    });
  }
  return counts;
}

export class KeypointTable {
  /** @param {Function} chosen called with the name of the only keypoint to review; null for all */
  constructor(chosen) {
    Object.assign(this, { chosen, only: null, rows: new Map() });
    $("all-keypoints").addEventListener("click", () => this.#choose(null));
  }

  /** Show the counts, if the table is open. */
  show(annotations, categories) {
    Object.assign(this, { annotations, categories });
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.#render();
    });
  }

  #choose(name) {
    this.only = name === this.only ? null : name;
    this.#render();
    this.chosen(this.only);
  }

  #render() {
    const counts = countKeypoints(this.annotations, this.categories);
    for (const [name, row] of this.rows) {
      if (counts.has(name)) continue;
      row.remove();
      this.rows.delete(name);
    }
    for (const [name, count] of counts) {
      const row = this.rows.get(name) ?? this.#addRow(name);
      const score = count.scored ? (count.sum / count.scored).toFixed(2) : "";
      [count.doubtful, count.reviewed, count.corrected, score].forEach((value, i) => {
        row.children[i + 1].textContent = value;
        row.children[i + 1].classList.toggle("none", value === 0);
      });
      row.querySelector("button").setAttribute("aria-pressed", name === this.only);
    }
    $("all-keypoints").hidden = this.only === null;
  }

  #addRow(name) {
    const row = addElement("tr", "", $("keypoints-body"));
    const head = addElement("th", "", row), button = addElement("button", "quiet", head);
    head.scope = "row";
    button.type = "button";
    button.textContent = name.replaceAll("_", " ");
    button.title = `Review ${name} only`;
    button.addEventListener("click", () => {
      this.#choose(name);
      button.blur(); // so that keys go on with the points
    });
    for (let i = 0; i < 4; i++) addElement("td", "", row);
    this.rows.set(name, row);
    return row;
  }
}
