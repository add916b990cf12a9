// The points of the object under review, as pins on its image.

import { isDoubtful, keypointOf } from "./instances.js";

export const COLOUR = { current: "#e8590c", doubtful: "#e8b00c", accepted: "#2f6fed" };

/**
 * Show the points of an annotation.
 *
 * @param {Panel} panel shows the image
 * @param {object} annotation as in a COCO file
 * @param {string[]} names of its keypoints
 * @param {?number} current index of the keypoint under review
 * @param {object} on callbacks: moved(keypoint, point, done), chosen(keypoint)
 */
export function showPins(panel, annotation, names, current, on) {
  const seen = new Set();
  names.forEach((name, keypoint) => {
    const { point, visible, occluded } = keypointOf(annotation, keypoint), isCurrent = keypoint === current;
    if (!point || !(visible || isCurrent)) return;
    const key = `${annotation.id} ${keypoint}`, doubtful = isDoubtful(annotation, keypoint);
    const score = annotation.homolog?.scores?.[keypoint];
    const said = [name, `x ${Math.round(point[0])}`, `y ${Math.round(point[1])}`];
    if (typeof score === "number") said.push(`score ${score.toFixed(2)}`);
    if (doubtful) said.push("doubtful");
    if (occluded) said.push("occluded");
    seen.add(key);
    const button = panel.pin(key, {
      point,
      text: "",
      title: name,
      colour: COLOUR[isCurrent ? "current" : doubtful ? "doubtful" : "accepted"],
      classes: `small ${isCurrent ? "current" : ""} ${visible ? "" : "unseen"} ${occluded ? "occluded" : ""}`,
      label: said.join(", "),
      moved: (to, done) => on.moved(keypoint, to, done),
    });
    button.onclick = () => on.chosen(keypoint);
  });
  for (const key of [...panel.pins.keys()]) if (!seen.has(key)) panel.unpin(key);
  panel.redraw();
}
