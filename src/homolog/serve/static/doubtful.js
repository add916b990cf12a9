// The doubtful points, in the order in which they are reviewed.

const $ = (id) => document.getElementById(id);

export class Doubtful {
  /** @param {Function} chosen called when other keypoints are to be reviewed */
  constructor(chosen) {
    Object.assign(this, { points: [], annotations: new Map(), categories: new Map(), order: null });
    $("filter").addEventListener("change", () => {
      chosen();
      $("filter").blur();
    });
  }

  /**
   * Set the points that are doubtful.
   *
   * @param {number[][]} points annotation and keypoint of each
   * @param {Map} annotations by their ids
   * @param {Map} categories by their ids
   */
  set(points, annotations, categories) {
    Object.assign(this, { points, annotations, categories, order: null });
    this.#showFilter();
  }

  /** A point is doubtful no longer. */
  remove([annotation, keypoint]) {
    this.points = this.points.filter(([id, each]) => id !== annotation || each !== keypoint);
    this.#showFilter();
  }

  get count() {
    return this.points.length;
  }

  name([id, keypoint]) {
    const category = this.categories.get(this.annotations.get(id).category_id);
    return category.keypoints[keypoint] ?? String(keypoint + 1);
  }

  /** The next point after an annotation and keypoint (null for none), or the one before it. */
  next([annotation, keypoint], direction = 1) {
    const here = annotation === null ? -Infinity : direction * this.#position([annotation, keypoint ?? -1]);
    let next = null, first = null;
    for (const point of this.#filtered()) {
      const position = direction * this.#position(point);
      if (position > here && (!next || position < next.position)) next = { position, point };
      if (!first || position < first.position) first = { position, point };
    }
    return (next ?? first)?.point ?? null;
  }

  /** The next image after that of a point which has doubtful points. */
  nextImage([annotation, keypoint]) {
    const image = this.annotations.get(annotation).image_id, here = this.#position([annotation, keypoint]);
    const point = this.#filtered().find((each) => this.#position(each) > here && this.annotations.get(each[0]).image_id !== image);
    return point ? this.annotations.get(point[0]).image_id : null;
  }

  /** Annotations are in the order of the file, but those of an image are together. */
  #position([id, keypoint]) {
    if (!this.order) {
      const byImage = Map.groupBy(this.annotations.values(), ({ image_id: image }) => image);
      this.order = new Map([...byImage.values()].flat().map((annotation, i) => [annotation.id, i]));
    }
    return this.order.get(id) * 1000 + keypoint;
  }

  #filtered() {
    const only = $("filter").value;
    return only ? this.points.filter((each) => this.name(each) === only) : this.points;
  }

  #showFilter() {
    const counts = new Map();
    for (const each of this.points) counts.set(this.name(each), (counts.get(this.name(each)) ?? 0) + 1);
    const chosen = $("filter").value;
    const options = [["", `all points (${this.points.length})`], ...[...counts].map(([name, count]) => [name, `${name} (${count})`])];
    if (chosen && !counts.has(chosen)) options.push([chosen, `${chosen} (0)`]);
    $("filter").replaceChildren(...options.map(([value, text]) => new Option(text, value)));
    $("filter").value = chosen;
  }
}
