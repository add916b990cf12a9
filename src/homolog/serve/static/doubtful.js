// The doubtful points in the order in which they are reviewed, and those that were looked at before.

export class Doubtful {
  constructor() {
    Object.assign(this, { points: [], annotations: new Map(), categories: new Map(), only: null, trail: [] });
    Object.assign(this, { images: new Map(), order: null });
  }

  /** Set the order of the images, by their ids: the most doubtful one first. */
  setOrder(images) {
    this.images = new Map(images.map((id, position) => [id, position]));
    this.order = null;
  }

  /**
   * Set the points that are doubtful.
   *
   * @param {Array[]} points annotation and keypoint of each
   * @param {Map} annotations by their ids
   * @param {Map} categories by their ids
   */
  set(points, annotations, categories) {
    Object.assign(this, { points, annotations, categories, order: null });
  }

  /** A point is doubtful no longer. */
  remove([annotation, keypoint]) {
    this.points = this.points.filter(([id, each]) => id !== annotation || each !== keypoint);
  }

  /** An annotation has another id now. */
  rename(before, now) {
    const renamed = ([id, keypoint]) => [id === before ? now : id, keypoint];
    Object.assign(this, { points: this.points.map(renamed), trail: this.trail.map(renamed), order: null });
  }

  get count() {
    return this.points.length;
  }

  name([id, keypoint]) {
    const category = this.categories.get(this.annotations.get(id).category_id);
    return category.keypoints[keypoint] ?? String(keypoint + 1);
  }

  /** Remember that a point was looked at, to go back to it. */
  leave(point) {
    if (point) this.trail = [...this.trail, point].slice(-500);
  }

  /** The point that was looked at before, if it is still there. */
  back() {
    while (this.trail.length) {
      const point = this.trail.pop();
      if (this.annotations.has(point[0])) return point;
    }
    return null;
  }

  /**
   * The next point after an annotation and keypoint (null for none), or the one before it.
   *
   * @param {Array} current annotation and keypoint
   * @param {number} direction 1 or -1
   * @param {*} image id of the image to stay in; null for all
   */
  next([annotation, keypoint], direction = 1, image = null) {
    const known = this.annotations.has(annotation);
    const here = known ? direction * this.#position([annotation, keypoint ?? -1]) : -Infinity;
    let next = null, first = null;
    for (const point of this.#filtered()) {
      if (image !== null && this.annotations.get(point[0]).image_id !== image) continue;
      const position = direction * this.#position(point);
      if (position > here && (!next || position < next.position)) next = { position, point };
      if (!first || position < first.position) first = { position, point };
    }
    return (next ?? first)?.point ?? null;
  }

  /** The next image after that of a point which has doubtful points. */
  nextImage([annotation, keypoint]) {
    const image = this.annotations.get(annotation).image_id, here = this.#position([annotation, keypoint]);
    let next = null;
    for (const point of this.#filtered()) {
      const position = this.#position(point), other = this.annotations.get(point[0]).image_id;
      if (position > here && other !== image && (!next || position < next.position)) next = { position, image: other };
    }
    return next?.image ?? null;
  }

  /** By image, in the order of images; in one by annotation, in the order of the file. */
  #position([id, keypoint]) {
    if (!this.order) {
      const rank = ({ image_id: image }) => this.images.get(image) ?? this.images.size;
      const sorted = [...this.annotations.values()].sort((a, b) => rank(a) - rank(b));
      this.order = new Map(sorted.map((annotation, i) => [annotation.id, i]));
    }
    return this.order.get(id) * 1000 + keypoint;
  }

  #filtered() {
    return this.only === null ? this.points : this.points.filter((each) => this.name(each) === this.only);
  }
}
