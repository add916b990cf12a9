// What the page says beside the image under review: progress, the point, an example of it, the image.

import { attempt } from "./common.js";
import { drawExemplar } from "./exemplar.js";
import { labelledImages } from "./first_labels.js";
import { instanceId } from "./instances.js";
import { COLOUR } from "./review_pins.js";

const $ = (id) => document.getElementById(id);

export const CLOSE_UP = 0.6; // shown around a point, as a share of the longer edge of the object's box

export class Facts {
  /** @param {Review} review whose state is shown */
  constructor(review) {
    this.review = review;
  }

  show() {
    const { review } = this, { doubtful, history, image, images, order } = review;
    if (review.fromNothing) this.#showLabelled();
    else this.#showDoubtful();
    review.table.show(review.annotations.values(), review.categories);
    for (const id of ["hide", "occlude"]) $(id).disabled = !review.current;
    $("accept").disabled = !review.current && !review.fromNothing;
    $("accept-image").disabled = image === null;
    for (const id of ["next", "previous"]) $(id).disabled = doubtful.count === 0 && review.instance === null;
    for (const id of ["undo", "redo"]) $(id).disabled = !history[id];
    $("whole").disabled = image === null;
    $("image-name").textContent = images.get(image)?.name ?? "";
    $("image-count").textContent = order.length > 1 ? ` · image ${order.indexOf(image) + 1} of ${order.length}` : "";
    for (const id of ["previous-image", "next-image"]) $(id).hidden = order.length < 2;
    this.#showHint();
    $("point").hidden = !review.current;
    if (review.current) this.#showPoint();
  }

  #showDoubtful() {
    const { doubtful, total } = this.review, left = doubtful.count;
    $("left").textContent = left ? `${left} of ${total}` : "Nothing is doubtful";
    $("left-of").textContent = left ? "doubtful points left" : total ? "any more. All are reviewed." : "in this file.";
    $("progress").value = total ? 1 - left / total : 1;
  }

  #showLabelled() {
    const { annotations, images } = this.review, done = labelledImages(annotations.values()).size;
    $("left").textContent = `${done} of ${images.size}`;
    $("left-of").textContent = "images labelled";
    $("progress").value = images.size ? done / images.size : 1;
  }

  /** What is to be done, where that is not to accept or correct a point. */
  #showHint() {
    const { review } = this, { annotations, current, image, instance } = review;
    const hint = $("point-hint"), annotation = annotations.get(instance);
    const placing = current && !review.keypointOf(current[1]).point;
    let said = "";
    if (placing) said = review.occluded ? "Click where it would be: it is occluded." : "Click where it is.";
    else if (review.fromNothing && annotation && !current) {
      const labelled = labelledImages(annotations.values()).has(image);
      said = labelled ? "This image is labelled. Drag what is wrong; A goes on." : "Drag what is wrong; A accepts the image.";
    }
    if (review.predicting === image && image !== null) said += " Its points are being predicted from the images before.";
    hint.textContent = said.trim();
    hint.hidden = !said;
  }

  #showPoint() {
    const { review } = this, { annotations, categories, doubtful, images, instances } = review;
    const [id, keypoint] = review.current, annotation = annotations.get(id);
    const { visible, occluded, point } = review.keypointOf(keypoint);
    const score = annotation.homolog?.scores?.[keypoint], name = doubtful.name(review.current);
    $("point-name").textContent = name.replaceAll("_", " ");
    const facts = [images.get(annotation.image_id).name];
    if (instances.annotations.length > 1) facts.push(`object ${instanceId(annotation)}`);
    if (typeof score === "number") facts.push(`score ${score.toFixed(2)}`);
    if (annotation.homolog?.reviewed.includes(keypoint)) facts.push("reviewed");
    if (!visible && point) facts.push("not visible");
    if (occluded) facts.push("occluded");
    $("point-facts").textContent = facts.join(" · ");
    $("hide").firstChild.textContent = visible || !point ? "Not visible " : "Visible ";
    $("occlude").setAttribute("aria-pressed", occluded || review.occluded);
    this.#showExemplar(categories.get(annotation.category_id), keypoint, name);
  }

  /** The keypoint in an exemplar; for first labels, in an image labelled before. */
  #showExemplar(category, keypoint, name) {
    const { review } = this, canvas = $("exemplar");
    const found = review.exemplars[category.name]?.[name] ?? (review.fromNothing ? this.#earlier(category, keypoint) : null);
    canvas.hidden = $("exemplar-note").hidden = !found;
    if (!found) return;
    canvas.setAttribute("aria-label", `Example of ${name}`);
    $("exemplar-note").textContent = "as labelled by hand";
    const isWanted = () => review.current && review.doubtful.name(review.current) === name;
    attempt(() => drawExemplar(canvas, found, CLOSE_UP, COLOUR.current, isWanted));
  }

  #earlier({ id }, keypoint) {
    const { annotations, image, images } = this.review;
    for (const { bbox, category_id: category, homolog, image_id: other, keypoints } of annotations.values()) {
      const { picture } = images.get(other), [x, y, v] = keypoints.slice(3 * keypoint, 3 * keypoint + 3);
      if (other !== image && category === id && v > 0 && picture && homolog?.reviewed.includes(keypoint)) {
        return { picture, point: [x, y], box: bbox };
      }
    }
    return null;
  }
}
