// Pinned pairs as files; the names in them are those of homolog's Matches.

/** Save the pinned pairs in a form: json, csv, coco or png. */
export async function download(form, { pictures, pins, pair, pose, kept, start }) {
  if (pins.length === 0) throw new Error("Nothing is pinned yet: click on a picture first");
  const made = { json, csv, coco, png }[form]({ pictures, pins, pair, pose, kept, start });
  const [content, type, ending] = await made;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content], { type }));
  link.download = `${stem(pictures[0])}-${stem(pictures[1])}${ending}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

const stem = ({ name }) => name.replace(/^.*\//, "").replace(/\.[^.]*$/, "");

function json({ pictures, pins, pair, pose, kept, start }) {
  const distances = [...kept].map(([name, { distance }]) => [name, distance]);
  const content = {
    image0: pictures[0].name,
    image1: pictures[1].name,
    model: start.model,
    keypoints0: pins.map(({ points }) => points[0]),
    keypoints1: pins.map(({ points }) => points[1]),
    matching_scores: pins.map(({ score }) => score),
    pair_score: pair.score,
    pose,
    pose_distances: Object.fromEntries(distances),
    posed: pins.map((pin) => pin.pose === pose),
    point_ids: null,
    note: pair.note,
    size0: [pictures[0].width, pictures[0].height],
    size1: [pictures[1].width, pictures[1].height],
    corrected: pins.map(({ corrected }) => corrected),
  };
  return [`${JSON.stringify(content, null, 1)}\n`, "application/json", ".json"];
}

function csv({ pins }) {
  const rows = pins.map(({ number, points, score, pose, corrected }) =>
    [number, ...points.flat(), score, pose, corrected].join());
  return [["number,x0,y0,x1,y1,score,pose,corrected", ...rows, ""].join("\n"), "text/csv", ".csv"];
}

function coco({ pictures, pins }) {
  const images = pictures.map(({ name, width, height }, i) => ({ id: i + 1, file_name: name, width, height }));
  if (images[0].file_name === images[1].file_name) {
    throw new Error("COCO: both pictures have the same name");
  }
  const annotations = [0, 1].map((side) => {
    const xs = pins.map(({ points }) => points[side][0]), ys = pins.map(({ points }) => points[side][1]);
    const x = Math.min(...xs), y = Math.min(...ys);
    // A box of no width is none; COCO's readers refuse it.
    const width = Math.max(Math.max(...xs) - x, 1), height = Math.max(Math.max(...ys) - y, 1);
    return {
      id: side + 1, image_id: side + 1, category_id: 1, iscrowd: 0,
      bbox: [x, y, width, height], area: width * height, num_keypoints: pins.length,
      keypoints: pins.flatMap(({ points }) => [...points[side], 2]),
    };
  });
  const categories = [{
    id: 1, name: "thing", supercategory: "thing", skeleton: [],
    keypoints: pins.map(({ number }) => `point_${number}`),
  }];
  const content = JSON.stringify({ images, annotations, categories }, null, 1);
  return [`${content}\n`, "application/json", ".coco.json"];
}

async function png({ pictures, pins }) {
  const loaded = await Promise.all(pictures.map(async ({ address }) => {
    const image = new Image();
    image.src = address;
    await image.decode();
    return image;
  }));
  const height = Math.max(480, Math.min(1000, ...pictures.map((picture) => picture.height)));
  const gap = 16, scales = pictures.map((picture) => height / picture.height);
  const widths = pictures.map((picture, i) => Math.round(picture.width * scales[i]));
  const lefts = [0, widths[0] + gap];
  const canvas = document.createElement("canvas");
  canvas.width = widths[0] + gap + widths[1];
  canvas.height = height;
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, height);
  loaded.forEach((image, i) => context.drawImage(image, lefts[i], 0, widths[i], height));
  const place = (pin, i) => [lefts[i] + pin.points[i][0] * scales[i], pin.points[i][1] * scales[i]];
  for (const pin of pins) {
    context.strokeStyle = pin.colour;
    context.globalAlpha = 0.25 + 0.6 * pin.score;
    context.lineWidth = 1 + 2.5 * pin.score;
    context.beginPath();
    context.moveTo(...place(pin, 0));
    context.lineTo(...place(pin, 1));
    context.stroke();
  }
  context.globalAlpha = 1;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.font = "600 14px system-ui, sans-serif";
  for (const pin of pins) {
    const doubtful = pin.score < 0.5 && !pin.corrected;
    for (const side of [0, 1]) {
      const [x, y] = place(pin, side);
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
