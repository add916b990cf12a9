// The objects of the image under review: their boxes on the image, and the list beside it.

import { boxColour, Boxes } from "./boxes.js";
import { addElement } from "./panel.js";

const $ = (id) => document.getElementById(id);

/** The id of an annotation's instance; without one, that of the annotation. */
export function instanceId({ track_id: track, instance_id: id, instance, id: own }) {
  return track ?? id ?? instance ?? own;
}

/** Where a keypoint of an annotation is: its point, or that which was predicted; if it is visible, or occluded. */
export function keypointOf({ keypoints, homolog }, keypoint) {
  const [x, y, v] = keypoints.slice(3 * keypoint, 3 * keypoint + 3);
  if (v > 0) return { point: [x, y], visible: true, occluded: v === 1 };
  const [px, py, pv] = homolog?.predicted.slice(3 * keypoint, 3 * keypoint + 3) ?? [0, 0, 0];
  return { point: pv > 0 ? [px, py] : null, visible: false, occluded: false };
}

/** Whether a keypoint of an annotation is still to be reviewed. */
export function isDoubtful({ homolog }, keypoint) {
  const { doubtful = [], reviewed = [] } = homolog ?? {};
  return doubtful.includes(keypoint) && !reviewed.includes(keypoint);
}

export class Instances {
  /**
   * @param {Panel} panel shows the image
   * @param {object} on callbacks: select(annotation id), add(category id, box), move(annotation id,
   *   box, done), remove(annotation id), rename(annotation id, instance id), restore(annotation id)
   */
  constructor(panel, on) {
    Object.assign(this, { panel, on, annotations: [], deleted: [], current: null, image: null, colours: new Map() });
    this.boxes = new Boxes(panel, {
      drawn: (box) => on.add(this.offered[$("new-category").value].id, box),
      select: (id) => on.select(id),
      changed: (id, box, done) => on.move(id, box, done),
      remove: (id) => on.remove(id),
      drawing: (drawing) => $("draw").setAttribute("aria-pressed", drawing),
    });
  }

  /** Offer categories for new boxes: those with keypoints, if any has some. */
  setCategories(categories) {
    const labelled = categories.filter(({ keypoints }) => keypoints?.length);
    const offered = labelled.length ? labelled : categories;
    this.categories = new Map(categories.map((category) => [category.id, category]));
    this.offered = offered;
    $("new-category").replaceChildren(...offered.map(({ name }, i) => new Option(name, i)));
    $("new-category-label").hidden = offered.length < 2;
    $("draw").disabled = offered.length === 0;
  }

  /**
   * Show the objects of an image.
   *
   * @param {object[]} annotations of the image, as in a COCO file
   * @param {object[]} deleted those that were deleted
   * @param {?number} current id of the annotation that is chosen
   */
  show(annotations, deleted, current) {
    const objects = annotations.filter(({ iscrowd }) => iscrowd !== 1);
    const chosen = objects.find(({ id }) => id === current);
    const category = this.offered.findIndex(({ id }) => id === chosen?.category_id);
    if (category >= 0 && current !== this.current) $("new-category").value = category;
    // An object keeps its colour while its image is shown, whatever is deleted.
    const image = annotations[0]?.image_id ?? deleted[0]?.image_id;
    if (image !== this.image) this.colours.clear();
    for (const { id } of [...objects, ...deleted]) {
      if (!this.colours.has(id)) this.colours.set(id, boxColour(this.colours.size));
    }
    Object.assign(this, { annotations: objects, deleted, current, image });
    this.showBoxes();
    // There may be a thousand objects: the list is only made anew when it says something else.
    const said = JSON.stringify([objects.map((each) => [each.id, this.#describe(each)]), deleted, current]);
    if (said !== this.said) this.#showList();
    this.said = said;
  }

  /** The annotation that many further on in the list. */
  step(by) {
    const ids = this.annotations.map(({ id }) => id), at = ids.indexOf(this.current);
    if (at < 0) return by > 0 ? ids[0] : ids.at(-1);
    return ids[(at + by + ids.length) % ids.length];
  }

  /** Draw the skeleton of the chosen object, and the points of the others, so that none is taken for its own. */
  draw(context) {
    for (const other of this.annotations) {
      if (other.id === this.current) this.#drawSkeleton(context, other);
      else this.#drawPoints(context, other);
    }
  }

  #drawSkeleton(context, annotation) {
    const { skeleton = [] } = this.categories.get(annotation.category_id);
    for (const [width, colour] of [[4, "rgba(0, 0, 0, 0.35)"], [1.75, "rgba(255, 255, 255, 0.9)"]]) {
      context.lineWidth = width;
      context.strokeStyle = colour;
      context.beginPath();
      for (const bone of skeleton) {
        const ends = bone.map((number) => keypointOf(annotation, number - 1));
        if (!ends.every(({ visible }) => visible)) continue;
        context.moveTo(...this.panel.toStage(ends[0].point));
        context.lineTo(...this.panel.toStage(ends[1].point));
      }
      context.stroke();
    }
  }

  #drawPoints(context, annotation) {
    context.fillStyle = this.colours.get(annotation.id);
    for (let keypoint = 0; keypoint < annotation.keypoints.length / 3; keypoint++) {
      const { point, visible } = keypointOf(annotation, keypoint);
      if (!visible) continue;
      context.beginPath();
      context.arc(...this.panel.toStage(point), 3, 0, 2 * Math.PI);
      context.fill();
    }
  }

  /** Show the boxes where they are now. */
  showBoxes() {
    const shown = new Set();
    for (const annotation of this.annotations) {
      const { id, bbox, homolog } = annotation;
      // A box that follows the keypoints is in their way while these are placed.
      if (!(bbox[2] > 0 && bbox[3] > 0) || homolog?.box_of_keypoints) continue;
      shown.add(id);
      const name = `object ${instanceId(annotation)}`;
      this.boxes.show(id, {
        box: bbox, text: String(instanceId(annotation)), name, colour: this.colours.get(id), current: id === this.current,
      });
    }
    for (const id of [...this.boxes.items.keys()]) if (!shown.has(id)) this.boxes.hide(id);
  }

  #showList() {
    const list = $("instances"), focused = list.contains(document.activeElement), { scrollTop } = list;
    let chosen = null;
    list.replaceChildren();
    for (const annotation of this.annotations) {
      const { id } = annotation, row = addElement("li", "", list);
      const button = this.#button(row, "choose-instance", "", (event) => {
        this.on.select(id);
        if (event.detail > 0) this.panel.stage.focus({ preventScroll: true }); // so that keys go on with its points
      });
      button.setAttribute("aria-pressed", id === this.current);
      button.style.setProperty("--colour", this.colours.get(id));
      addElement("span", "swatch", button);
      addElement("b", "", button).textContent = instanceId(annotation);
      addElement("span", "facts", button).textContent = this.#describe(annotation);
      if (id === this.current) {
        const rename = this.#button(row, "plain", "✎", () => this.#rename(annotation));
        rename.setAttribute("aria-label", `Rename object ${instanceId(annotation)}`);
        rename.title = "Rename";
      }
      const remove = this.#button(row, "plain", "×", () => this.on.remove(id));
      remove.setAttribute("aria-label", `Delete object ${instanceId(annotation)}`);
      if (id === this.current) chosen = row;
      if (focused && id === this.current) button.focus({ preventScroll: true });
    }
    for (const annotation of this.deleted) {
      const row = addElement("li", "deleted", list);
      addElement("span", "", row).textContent = `${instanceId(annotation)}, deleted`;
      const restore = this.#button(row, "quiet", "Restore", () => this.on.restore(annotation.id));
      restore.setAttribute("aria-label", `Restore object ${instanceId(annotation)}`);
    }
    // The chosen object stays in sight, without moving the page.
    list.scrollTop = scrollTop;
    if (chosen) {
      const top = chosen.offsetTop - list.offsetTop, bottom = top + chosen.offsetHeight - list.clientHeight;
      list.scrollTop = Math.min(Math.max(list.scrollTop, bottom), top);
    }
    $("no-instances").hidden = this.annotations.length > 0;
  }

  #rename(annotation) {
    const before = String(instanceId(annotation)), given = prompt(`New id of object ${before}`, before)?.trim();
    if (!given || given === before) return;
    this.on.rename(annotation.id, /^\d+$/.test(given) ? Number(given) : given);
  }

  #describe(annotation) {
    const { keypoints = [], name } = this.categories.get(annotation.category_id) ?? {};
    const visible = annotation.keypoints.filter((value, i) => i % 3 === 2 && value > 0).length;
    const doubtful = keypoints.filter((_, keypoint) => isDoubtful(annotation, keypoint)).length;
    const parts = this.categories.size > 1 ? [name] : [];
    if (keypoints.length) parts.push(`${visible} of ${keypoints.length}`);
    if (doubtful) parts.push(`${doubtful} doubtful`);
    return parts.join(", ");
  }

  #button(parent, classes, text, click) {
    const button = addElement("button", classes, parent);
    button.type = "button";
    button.textContent = text;
    button.addEventListener("click", click);
    return button;
  }
}
