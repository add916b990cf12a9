// Pinned pairs as files; the names in them are those of homolog's Matches.
import { isDoubtful } from "./pins.js";


/** Save the pinned pairs in a format: json, csv, coco or png. */
export async function download(format, match) {
  if (match.pins.length === 0) throw new Error("Nothing is pinned yet: click on an image first");
  const [content, type, ending] = await { json, csv, coco, png }[format](match);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content], { type }));
  link.download = `${stem(match.images[0])}-${stem(match.images[1])}${ending}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

const stem = ({ name }) => name.replace(/^.*\//, "").replace(/\.[^.]*$/, "");

/** The boxes that a pin was matched in, or null for whole images. */
const boxes = ({ wanted }) => wanted.boxes;

const anyBox = (pins) => pins.some((pin) => boxes(pin).some(Boolean));

function json(match) {
  const { images, pins, pair, pose, options } = match;
  const content = {
    image0: images[0].name,
    image1: images[1].name,
    model: options.model,
    keypoints0: pins.map(({ points }) => points[0]),
    keypoints1: pins.map(({ points }) => points[1]),
    matching_scores: pins.map(({ score }) => score),
    // Where somebody put a point, it is.
    visible: pins.some(({ visible }) => visible === null)
      ? null : pins.map(({ corrected, visible }) => corrected || visible),
    pair_score: pair.score,
    pose,
    pose_distances: Object.fromEntries(match.distances()),
    posed: pins.map((pin) => pin.pose === pose),
    point_ids: null,
    point_names: null,
    note: pair.warning,
    size0: [images[0].width, images[0].height],
    size1: [images[1].width, images[1].height],
    corrected: pins.map(({ corrected }) => corrected),
  };
  if (anyBox(pins)) {
    content.boxes0 = pins.map((pin) => boxes(pin)[0]);
    content.boxes1 = pins.map((pin) => boxes(pin)[1]);
  }
  return [`${JSON.stringify(content, null, 1)}\n`, "application/json", ".json"];
}

function csv({ pins }) {
  const boxed = anyBox(pins);
  const rows = pins.map((pin) => {
    const { number, points, score, pose, corrected } = pin;
    const row = [number, ...points.flat(), score, pose, corrected];
    return (boxed ? [...row, ...boxes(pin).map((box) => box?.join(" ") ?? "")] : row).join();
  });
  const header = `number,x0,y0,x1,y1,score,pose,corrected${boxed ? ",box0,box1" : ""}`;
  return [[header, ...rows, ""].join("\n"), "text/csv", ".csv"];
}

function coco({ images: pair, pins }) {
  const images = pair.map(({ name, width, height }, i) => ({ id: i + 1, file_name: name, width, height }));
  if (images[0].file_name === images[1].file_name) {
    throw new Error("COCO: both images have the same name");
  }
  // Each pair of boxes is a pair of objects, with the points that were matched in it.
  const groups = new Map();
  for (const pin of pins) {
    const key = boxes(pin).join(" ");
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(pin);
  }
  const annotations = [...groups.values()].flatMap((group) => [0, 1].map((index) => {
    const xs = group.map(({ points }) => points[index][0]), ys = group.map(({ points }) => points[index][1]);
    const left = Math.min(...xs), top = Math.min(...ys);
    // COCO's readers refuse boxes of no width.
    const around = [left, top, Math.max(Math.max(...xs) - left, 1), Math.max(Math.max(...ys) - top, 1)];
    const bbox = boxes(group[0])[index] ?? around;
    return {
      image_id: index + 1, category_id: 1, iscrowd: 0, bbox, area: bbox[2] * bbox[3], num_keypoints: group.length,
      keypoints: pins.flatMap((pin) => (group.includes(pin) ? [...pin.points[index], 2] : [0, 0, 0])),
    };
  })).map((annotation, i) => ({ id: i + 1, ...annotation }));
  const categories = [{
    id: 1, name: "object", supercategory: "object", skeleton: [],
    keypoints: pins.map(({ number }) => `point_${number}`),
  }];
  const content = JSON.stringify({ images, annotations, categories }, null, 1);
  return [`${content}\n`, "application/json", ".coco.json"];
}

async function png({ images, pins }) {
  const loaded = await Promise.all(images.map(async ({ address }) => {
    const image = new Image();
    image.src = address;
    await image.decode();
    return image;
  }));
  const height = Math.max(480, Math.min(1000, ...images.map((image) => image.height)));
  const gap = 16, scales = images.map((image) => height / image.height);
  const widths = images.map((image, i) => Math.round(image.width * scales[i]));
  const lefts = [0, widths[0] + gap];
  const canvas = document.createElement("canvas");
  canvas.width = widths[0] + gap + widths[1];
  canvas.height = height;
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, height);
  loaded.forEach((image, i) => context.drawImage(image, lefts[i], 0, widths[i], height));
  const position = (pin, i) => [lefts[i] + pin.points[i][0] * scales[i], pin.points[i][1] * scales[i]];
  context.strokeStyle = "#fff";
  context.lineWidth = 2;
  for (const pin of pins) {
    boxes(pin).forEach((box, i) => {
      if (!box) return;
      const [x, y, width, length] = box.map((value) => value * scales[i]);
      context.strokeRect(lefts[i] + x, y, width, length);
    });
  }
  for (const pin of pins) {
    context.strokeStyle = pin.colour;
    context.globalAlpha = 0.25 + 0.6 * pin.score;
    context.lineWidth = 1 + 2.5 * pin.score;
    context.beginPath();
    context.moveTo(...position(pin, 0));
    context.lineTo(...position(pin, 1));
    context.stroke();
  }
  context.globalAlpha = 1;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.font = "600 14px system-ui, sans-serif";
  for (const pin of pins) {
    const doubtful = isDoubtful(pin);
    for (const index of [0, 1]) {
      const [x, y] = position(pin, index);
      context.beginPath();
      context.arc(x, y, 12, 0, 2 * Math.PI);
      context.fillStyle = doubtful ? "#fff" : pin.colour;
      context.strokeStyle = doubtful ? pin.colour : "#fff";
      context.lineWidth = 2;
      context.fill();
      context.stroke();
      context.fillStyle = doubtful ? "#1c1c28" : "#fff";
      context.fillText(pin.number, x, y + 0.5);
    }
  }
  const blob = await new Promise((resolve) => { canvas.toBlob(resolve, "image/png"); });
  return [blob, "image/png", ".png"];
}
