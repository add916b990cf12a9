// A keypoint as somebody labelled it by hand, shown beside the one under review.

import { request } from "./common.js";

/**
 * Draw an exemplar of a keypoint.
 *
 * @param {HTMLCanvasElement} canvas where to
 * @param {object} exemplar picture, point and box
 * @param {number} share how much of the longer edge of the box is shown
 * @param {string} colour of the mark
 * @param {Function} isWanted whether it still is, once it has been loaded
 */
export async function drawExemplar(canvas, exemplar, share, colour, isWanted) {
  const image = new Image();
  image.src = `/api/pictures/${exemplar.picture}/image`;
  const { width } = await (await request(`/api/pictures/${exemplar.picture}/size`)).json();
  await image.decode();
  if (!isWanted()) return;
  const scale = image.naturalWidth / width;
  const size = Math.max(share * Math.max(exemplar.box[2], exemplar.box[3]), 24);
  const [x, y] = exemplar.point, context = canvas.getContext("2d");
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.drawImage(image, (x - size / 2) * scale, (y - size / 2) * scale, size * scale, size * scale, 0, 0, canvas.width, canvas.height);
  for (const [lineWidth, stroke] of [[5, "#fff"], [2.5, colour]]) {
    context.lineWidth = lineWidth;
    context.strokeStyle = stroke;
    context.beginPath();
    context.arc(canvas.width / 2, canvas.height / 2, 9, 0, 2 * Math.PI);
    context.stroke();
  }
}
