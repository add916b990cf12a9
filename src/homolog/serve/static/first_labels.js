// First labels: images in which nothing is labelled yet, predicted from those labelled before.

import { addElement } from "./panel.js";
import { attempt, request } from "./common.js";

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

export class FirstLabels {
  /** @param {Review} review whose images are labelled */
  constructor(review) {
    Object.assign(this, { review, predicted: new Set() });
  }

  /** Label an image in which nothing is labelled: nothing is saved before its first point. */
  begin(image) {
    const { review } = this;
    const category = [...review.categories.values()].find(({ keypoints }) => keypoints?.length);
    const begun = placeholder(image, category), open = category.keypoints.map((_, i) => [begun.id, i]);
    review.annotations.set(begun.id, begun);
    review.doubtful.set([...review.doubtful.points, ...open], review.annotations, review.categories);
    review.selectInstance(begun.id);
    attempt(() => this.predict(image));
  }

  /** Predict an image from those that are labelled, and add that to what is labelled in it by then. */
  async predict(image) {
    const { review } = this;
    await review.saved(); // so that what was labelled last counts
    review.predicting = image;
    review.facts.show();
    try {
      if (!(await this.#ask(image))) return;
    } finally {
      review.predicting = null;
      review.facts.show();
    }
    review.saving.send("/prefill", { body: { image } }, (state, isLast) => {
      if (!isLast || !state.annotations.length) return; // a later answer has it, too
      review.take(state);
      if (review.image !== image) return;
      review.selectInstance(state.id, { still: true });
      review.showAll();
    });
  }

  /** Ask once for the prediction of an image; whether there is one. */
  async #ask(image) {
    if (this.predicted.has(image)) return false;
    this.predicted.add(image);
    const options = { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ image }) };
    const { ready } = await (await request("/api/review/prediction", options)).json();
    if (!ready) this.predicted.delete(image); // nothing is labelled yet
    return ready;
  }

  /** The image after this one that is not labelled completely; this one if all are. */
  nextUnlabelled() {
    const { review } = this;
    const { order } = review, done = labelledImages(review.annotations.values());
    const from = order.indexOf(review.image) + 1;
    const next = [...order.slice(from), ...order.slice(0, from)].find((id) => !done.has(id) && review.images.get(id).picture);
    return next ?? review.image ?? order[0] ?? null;
  }

  /** An annotation is in the file now, in place of what was begun on the page. */
  replacePlaceholder({ id, image_id: image }) {
    const { review } = this;
    const begun = [...review.annotations.values()].find((each) => each.placeholder && each.image_id === image);
    if (!begun) return;
    review.annotations.delete(begun.id);
    review.annotations.set(id, Object.assign(begun, { id, placeholder: false }));
    review.doubtful.annotations = review.annotations;
    review.doubtful.rename(`\u0000${image}`, id);
    if (review.instance !== `\u0000${image}`) return;
    review.instance = id;
    for (const key of [...review.panel.pins.keys()]) review.panel.unpin(key);
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
