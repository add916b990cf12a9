// First labels: images in which nothing is labelled yet, predicted from those labelled before.

import { addElement } from "./panel.js";
import { request } from "./common.js";

const $ = (id) => document.getElementById(id);

/** An annotation that is not in the file yet: it comes into it with its first point. */
export function placeholder(image, category) {
  const { keypoints } = category, zeros = () => keypoints.flatMap(() => [0, 0, 0]);
  return {
    id: `\u0000${image}`, image_id: image, category_id: category.id, placeholder: true, bbox: [0, 0, 0, 0],
    keypoints: zeros(), homolog: { scores: [], doubtful: keypoints.map((_, i) => i), reviewed: [], predicted: zeros() },
  };
}

/** Whether somebody has labelled or reviewed every keypoint of an annotation. */
export function isComplete({ homolog, keypoints, placeholder: begun }) {
  return !begun && (!homolog || homolog.reviewed.length === keypoints.length / 3);
}

/** The ids of the images that are labelled completely. */
export function labelledImages(annotations) {
  const complete = new Map();
  for (const annotation of annotations) {
    const { image_id: image, placeholder: begun } = annotation;
    if (!begun) complete.set(image, (complete.get(image) ?? true) && isComplete(annotation));
  }
  return new Set([...complete].filter(([, all]) => all).map(([image]) => image));
}

export class Predictions {
  constructor() {
    this.asked = new Set();
  }

  /** Ask once for the prediction of an image; whether there is one. */
  async ask(image) {
    if (this.asked.has(image)) return false;
    this.asked.add(image);
    const options = { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ image }) };
    const { ready } = await (await request("/api/review/prediction", options)).json();
    if (!ready) this.asked.delete(image); // nothing is labelled yet
    return ready;
  }
}

/**
 * Ask which keypoints mirror each other.
 *
 * @param {object} category as in a COCO file
 * @param {Function} done called with the index of each keypoint's counterpart, or its own
 */
export function askSides({ keypoints }, done) {
  const counterparts = keypoints.map((_, i) => i), body = $("sides-body");
  const selects = keypoints.map((name, i) => {
    const label = addElement("label", "", body), select = document.createElement("select");
    addElement("span", "", label).textContent = name.replaceAll("_", " ");
    label.append(select);
    select.replaceChildren(...keypoints.map((other, j) => new Option(i === j ? "itself" : other.replaceAll("_", " "), j)));
    select.value = i;
    select.addEventListener("change", () => pair(i, Number(select.value)));
    return select;
  });
  const pair = (i, j) => {
    for (const each of [i, j]) { // what they were paired with is on its own now
      const other = counterparts[each];
      Object.assign(counterparts, { [other]: other, [each]: each });
    }
    Object.assign(counterparts, { [i]: j, [j]: i });
    selects.forEach((select, each) => { select.value = counterparts[each]; });
  };
  const finish = (given) => {
    $("sides").close();
    body.replaceChildren();
    done(given);
  };
  $("sides-save").onclick = () => finish(counterparts);
  $("sides-none").onclick = () => finish(keypoints.map((_, i) => i));
  $("sides").showModal();
}
