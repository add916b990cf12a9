// Corrections of the points under review: placed, moved, accepted, hidden, occluded.

import { isDoubtful } from "./instances.js";
import { toast } from "./common.js";

export class Corrections {
  /** @param {Review} review whose point is corrected */
  constructor(review) {
    this.review = review;
  }

  setPoint(point, occluded = this.review.keypointOf(this.review.keypoint).occluded) {
    const { review } = this;
    review.annotations.get(review.instance).keypoints.splice(3 * review.keypoint, 3, ...point, occluded ? 1 : 2);
  }

  /** A click: the point is there. One that was nowhere is placed, and the next one is asked for. */
  place(point) {
    const { review } = this;
    if (!review.current) return;
    const isNew = !review.keypointOf(review.keypoint).point;
    this.move(point, true);
    if (!isNew) return;
    review.doubtful.leave(review.current);
    const { instance } = review;
    const annotation = review.annotations.get(instance), count = annotation.keypoints.length / 3;
    const open = [...Array(count).keys()].map((i) => (review.keypoint + 1 + i) % count).find((k) => isDoubtful(annotation, k));
    if (open === undefined) review.select(null, review.image, instance, { still: true });
    else review.select([instance, open], null, null, { still: !review.keypointOf(open).point || review.fromNothing });
  }

  move(point, done) {
    const { review } = this;
    if (!review.current) return;
    const { occluded } = review;
    this.setPoint(point, occluded || undefined);
    review.showPins();
    if (done) this.save({ point, visible: true, ...(occluded ? { occluded } : {}) });
  }

  step([dx, dy]) {
    const { review } = this;
    const { point } = review.current ? review.keypointOf(review.keypoint) : {};
    if (!point) return false;
    const to = review.panel.within([point[0] + dx, point[1] + dy]), { current } = review;
    this.setPoint(to);
    review.showPins();
    // Several steps in a row are one correction.
    review.saving.delay(() => this.save({ point: to, visible: true }, current));
    return true;
  }

  /** Accept the point; or, where first labels have no open point any more, the image. */
  accept() {
    const { review } = this;
    if (!review.current) {
      if (review.fromNothing) this.acceptImage();
      return;
    }
    review.saving.flush();
    review.doubtful.leave(review.current);
    this.save({ point: null, visible: review.keypointOf(review.keypoint).visible });
    if (review.doubtful.count > 0) review.advance(1);
    else review.select(null, review.image, review.instance);
  }

  toggleVisible() {
    const { review } = this;
    if (!review.current) return;
    const { visible, point } = review.keypointOf(review.keypoint), annotation = review.annotations.get(review.instance);
    if (!visible && !point) {
      if (!isDoubtful(annotation, review.keypoint)) {
        toast("Click where it is");
        return;
      }
      this.accept(); // it is nowhere
      return;
    }
    if (visible) annotation.keypoints.splice(3 * review.keypoint, 3, 0, 0, 0);
    else this.setPoint(point);
    this.save({ point: null, visible: !visible });
    review.showPins();
  }

  /** The point is hidden behind something, or no longer; where there is none yet, the next click is. */
  toggleOccluded() {
    const { review } = this;
    if (!review.current) return;
    const { point, occluded } = review.keypointOf(review.keypoint);
    if (!point) {
      review.occluded = !review.occluded;
      review.facts.show();
      return;
    }
    this.setPoint(point, !occluded);
    this.save({ point: null, visible: true, occluded: !occluded });
    review.showPins();
  }

  /** Save in the background: the page shows the correction at once, and loads anew if that fails. */
  save(correction, [annotation, keypoint] = this.review.current) {
    const { review } = this;
    const entry = review.annotations.get(annotation), { image_id: image, category_id: category } = entry;
    entry.homolog?.reviewed.push(keypoint);
    review.occluded = false;
    review.doubtful.remove([annotation, keypoint]);
    const body = () => {
      // What was begun on the page may have come into the file since.
      const which = entry.placeholder ? { annotation: null, image, category } : { annotation: entry.id };
      return { ...which, keypoint, ...correction };
    };
    review.saving.send("", { body }, (state, isLast) => {
      if (!isLast) { // a later answer is newer
        if (state.annotation) review.first.replacePlaceholder(state.annotation);
        return;
      }
      review.take(state);
      review.showAll();
    });
    review.showAll();
  }

  /** Accept all points of the image as they are, and go to the next one. */
  acceptImage() {
    const { review } = this;
    if (review.image === null) return;
    const image = review.image, here = [...review.annotations.values()].filter(({ image_id: id }) => id === image);
    if (here.length === 0 || here.some((each) => each.placeholder)) {
      toast("Nothing is labelled in this image yet");
      return;
    }
    review.doubtful.leave(review.current);
    review.change("/accept", { body: { image } }, () => {
      if (review.image !== image) return;
      if (review.fromNothing) review.openImage(review.first.nextUnlabelled());
      else if (review.doubtful.count > 0) review.advance(1);
      else review.openImage(image);
    });
  }
}
