// Matching in the browser: the arithmetic of homolog's ImagePair, on the compressed pair that the
// server sends.

const SCORE_TEMPERATURE = 0.05; // as in homolog.matching.confidence
const FLOOR = 0.05; // as in homolog.matching.consensus
const FARTHEST = 2; // as in homolog.scores

const ARRAY_TYPES = { int8: Int8Array, float32: Float32Array, uint8: Uint8Array };

/** A point mapped by an affine map: rows for x, y and 1. */
export function applyAffine(matrix, [x, y]) {
  const [right, down, origin] = matrix;
  return [
    x * right[0] + y * down[0] + origin[0],
    x * right[1] + y * down[1] + origin[1],
  ];
}

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

/** The value of a map, with one or more channels, at a position between cells. */
function bilinear(map, channels, { height, width }, [x, y]) {
  x = clamp(x, 0, width - 1);
  y = clamp(y, 0, height - 1);
  const left = Math.floor(x), top = Math.floor(y);
  const next = Math.min(left + 1, width - 1), below = Math.min(top + 1, height - 1);
  const at = (row, column, c) => map[(row * width + column) * channels + c];
  return Array.from({ length: channels }, (_, c) =>
    (at(top, left, c) * (1 - (x - left)) + at(top, next, c) * (x - left)) * (1 - (y - top))
    + (at(below, left, c) * (1 - (x - left)) + at(below, next, c) * (x - left)) * (y - top));
}

/** The channels of one image, on a grid of cells. */
class ImageMap {
  constructor(header, quantised, scale, matchable) {
    Object.assign(this, {
      region: header.region, toCells: header.to_cells, toPoints: header.to_points,
      // What is matched: x, y, width and height.
      bounds: header.region ?? [0, 0, ...header.size],
    });
    [this.height, this.width] = header.grid;
    this.channels = header.channels;
    this.matchable = matchable;
    this.values = new Float32Array(quantised.length);
    for (let i = 0; i < quantised.length; i++) {
      this.values[i] = quantised[i] * scale[i % this.channels];
    }
    // Descriptors are of unit length; their compressed channels are not.
    this.lengths = new Float32Array(this.height * this.width);
    for (let cell = 0; cell < this.lengths.length; cell++) {
      let sum = 0;
      for (let c = 0; c < this.channels; c++) sum += this.values[cell * this.channels + c] ** 2;
      this.lengths[cell] = Math.sqrt(sum);
    }
  }

  /** Whether a point lies in what is matched: the image, or a region of it. */
  holds([x, y]) {
    const [left, top, width, height] = this.bounds;
    return x >= left && y >= top && x <= left + width && y <= top + height;
  }

  /** A position between cells as a point of the image, or of its region. */
  toPoint(cells) {
    const [left, top, width, height] = this.bounds, [x, y] = applyAffine(this.toPoints, cells);
    return [clamp(x, left, left + width), clamp(y, top, top + height)];
  }

  /** The channels at a position between cells, of the interpolated length. */
  sample([x, y]) {
    x = clamp(x, 0, this.width - 1);
    y = clamp(y, 0, this.height - 1);
    const left = Math.floor(x), top = Math.floor(y);
    const right = Math.min(left + 1, this.width - 1), bottom = Math.min(top + 1, this.height - 1);
    const corners = [
      [top * this.width + left, (1 - (x - left)) * (1 - (y - top))],
      [top * this.width + right, (x - left) * (1 - (y - top))],
      [bottom * this.width + left, (1 - (x - left)) * (y - top)],
      [bottom * this.width + right, (x - left) * (y - top)],
    ];
    const sampled = new Float32Array(this.channels);
    let length = 0;
    for (const [cell, weight] of corners) {
      if (weight === 0) continue;
      length += weight * this.lengths[cell];
      const start = cell * this.channels;
      for (let c = 0; c < this.channels; c++) sampled[c] += weight * this.values[start + c];
    }
    let norm = 0;
    for (let c = 0; c < this.channels; c++) norm += sampled[c] * sampled[c];
    const factor = length / Math.max(Math.sqrt(norm), 1e-12);
    for (let c = 0; c < this.channels; c++) sampled[c] *= factor;
    return sampled;
  }

  /** The similarity of queries to every cell. */
  similarity(queries) {
    const count = this.height * this.width, channels = this.channels, values = this.values;
    const maps = queries.map(() => new Float32Array(count));
    for (let q = 0; q < queries.length; q++) {
      const query = queries[q], map = maps[q];
      for (let cell = 0, next = 0; cell < count; cell++) {
        let a = 0, b = 0, c = 0, d = 0, i = 0;
        for (; i + 3 < channels; i += 4, next += 4) {
          a += query[i] * values[next];
          b += query[i + 1] * values[next + 1];
          c += query[i + 2] * values[next + 2];
          d += query[i + 3] * values[next + 3];
        }
        for (; i < channels; i++, next++) a += query[i] * values[next];
        map[cell] = a + b + c + d;
      }
    }
    return maps;
  }
}

export class Pair {
  /** @param {ArrayBuffer} buffer a pair in one pose, as the server packs it */
  constructor(buffer) {
    const length = new DataView(buffer).getUint32(0, true);
    const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
    let start = 4 + length;
    const arrays = header.arrays.map(({ type, length: count }) => {
      const array = new ARRAY_TYPES[type](buffer, start, count);
      start += Math.ceil(array.byteLength / 4) * 4;
      return array;
    });
    Object.assign(this, {
      pose: header.pose, distance: header.distance, score: header.pair_score,
      sameCategoryThreshold: header.same_kind, warning: header.note, window: header.window,
      temperature: header.temperature, sigma: header.sigma,
    });
    this.maps = header.sides.map((each, i) => new ImageMap(each, ...arrays.slice(3 * i, 3 * i + 3)));
    this.consensus = header.guides.map((each, i) => each && {
      neighbourhoodWeight: header.guidance.surroundings,
      neighbourhoodRadius: header.guidance.reach,
      affineWeight: header.guidance.layout,
      affinePrior: each.layout,
      hubness: arrays[6 + i],
    });
    // What makes scores probabilities, for a model that is calibrated.
    const own = arrays.slice(6 + this.consensus.filter((each) => each).length);
    this.calibration = header.calibration && {
      ...header.calibration, objects: own.slice(0, 2), coordinates: own.slice(2, 4),
    };
  }

  /**
   * Where a point of one image could be in the other.
   *
   * @param {number} source 0 or 1, the image that the point is on
   * @param {number[]} point x, y in its pixels
   * @returns the similarity of each cell (-Infinity where no match may lie), the match in pixels
   *   of the other image, the score, 0 to 1, and whether the part is visible (null if unknown)
   */
  heatmap(source, point) {
    const from = this.maps[source], to = this.maps[1 - source];
    const cells = applyAffine(from.toCells, point);
    const map = this.consensus[source]
      ? this.#corrected(source, cells) : to.similarity([from.sample(cells)])[0];
    let best = -1;
    for (let i = 0; i < map.length; i++) {
      if (!to.matchable[i]) map[i] = -Infinity;
      else if (best < 0 || map[i] > map[best]) best = i;
    }
    const position = windowSoftArgmax(map, to, best, this.window, this.temperature, this.sigma);
    const [back] = from.similarity([to.sample(position)]);
    for (let i = 0; i < back.length; i++) if (!from.matchable[i]) back[i] = -Infinity;
    const confidence = Math.sqrt(windowProbability(map, to, position) * windowProbability(back, from, cells));
    return {
      map, best, height: to.height, width: to.width, point: to.toPoint(position),
      ...this.#scored(source, cells, position, confidence),
    };
  }

  /** The score of a match, and whether it is visible, as homolog.scores has them. */
  #scored(source, cells, position, confidence) {
    if (!this.calibration) return { score: confidence, visible: null };
    const { right, visible, known, objects, coordinates } = this.calibration;
    const from = this.maps[source], to = this.maps[1 - source];
    const query = from.sample(cells), found = to.sample(position);
    let distance = 0;
    if (known > 0) {
      const at = bilinear(coordinates[source], 3, from, cells);
      const other = bilinear(coordinates[1 - source], 3, to, position);
      distance = known * Math.min(Math.hypot(...at.map((value, i) => value - other[i])), FARTHEST);
    }
    const evidence = {
      confidence: Math.log(Math.max(confidence, 1e-6)),
      similarity: query.reduce((sum, value, i) => sum + value * found[i], 0),
      source_object: bilinear(objects[source], 1, from, cells)[0],
      target_object: bilinear(objects[1 - source], 1, to, position)[0],
      coordinates: distance,
      pair_score: this.score,
      offset: 1,
    };
    const probability = (weights) => {
      let logit = 0;
      for (const [name, weight] of Object.entries(weights)) logit += weight * evidence[name];
      return 1 / (1 + Math.exp(-logit));
    };
    return { score: probability(right), visible: probability(visible) >= 0.5 };
  }

  /** Similarity corrected by the consensus of the pair, as homolog.matching.consensus does. */
  #corrected(source, cells) {
    const from = this.maps[source], to = this.maps[1 - source], { width, height } = to;
    const { hubness, neighbourhoodWeight, neighbourhoodRadius: radius, affineWeight, affinePrior }
      = this.consensus[source];
    const offsets = [[0, 0], [radius, 0], [-radius, 0], [0, radius], [0, -radius]];
    const queries = offsets.map(([dx, dy]) => from.sample([cells[0] + dx, cells[1] + dy]));
    const [own, ...neighbours] = to.similarity(queries);
    const map = own;
    for (let i = 0; i < map.length; i++) {
      map[i] = (map[i] - hubness[i]) * (1 - neighbourhoodWeight);
    }
    neighbours.forEach((neighbour, k) => {
      const [dx, dy] = offsets[k + 1], weight = neighbourhoodWeight / neighbours.length;
      for (let y = 0, i = 0; y < height; y++) {
        const row = clamp(y + dy, 0, height - 1) * width;
        for (let x = 0; x < width; x++, i++) {
          const shifted = row + clamp(x + dx, 0, width - 1);
          map[i] += weight * (neighbour[shifted] - hubness[shifted]);
        }
      }
    });
    if (affinePrior) {
      const { side: unit, source_mean, target_mean, affine, variance } = affinePrior;
      const relative = cells.map((value, axis) => value / unit - source_mean[axis]);
      const mapped = [0, 1].map((axis) => target_mean[axis]
        + relative[0] * affine[0][axis] + relative[1] * affine[1][axis]);
      for (let y = 0, i = 0; y < height; y++) {
        const squaredY = (y / unit - mapped[1]) ** 2;
        for (let x = 0; x < width; x++, i++) {
          const squared = squaredY + (x / unit - mapped[0]) ** 2;
          map[i] += affineWeight * Math.log(Math.exp(squared / (-2 * variance)) + FLOOR);
        }
      }
    }
    return map;
  }
}

/** The window soft-argmax, or one over all cells but for those that a Gaussian suppresses. */
function windowSoftArgmax(map, { width, height }, best, window, temperature, sigma) {
  const column = best % width, row = Math.floor(best / width);
  const radius = window ?? Math.max(width, height);
  let x = 0, y = 0, total = 0;
  for (let j = Math.max(0, row - radius); j <= Math.min(height - 1, row + radius); j++) {
    for (let i = Math.max(0, column - radius); i <= Math.min(width - 1, column + radius); i++) {
      let similarity = map[j * width + i];
      if (similarity === -Infinity) continue;
      if (sigma) similarity *= Math.exp(((i - column) ** 2 + (j - row) ** 2) / (-2 * sigma ** 2));
      const weight = Math.exp((similarity - map[best]) / temperature);
      total += weight;
      x += weight * i;
      y += weight * j;
    }
  }
  return [x / total, y / total];
}

/** The probability that a match lies within a tenth of the grid around a position. */
function windowProbability(map, { width, height }, [x, y]) {
  const radius = Math.round(0.1 * Math.max(width, height));
  const column = clamp(Math.round(x), 0, width - 1), row = clamp(Math.round(y), 0, height - 1);
  let top = -Infinity;
  for (const value of map) if (value > top) top = value;
  let inside = 0, whole = 0;
  for (let j = 0, i = 0; j < height; j++) {
    for (let k = 0; k < width; k++, i++) {
      const weight = Math.exp((map[i] - top) / SCORE_TEMPERATURE);
      whole += weight;
      if (Math.abs(j - row) <= radius && Math.abs(k - column) <= radius) inside += weight;
    }
  }
  return inside / whole;
}

// Stops of the colour map inferno, whose lightness rises evenly: higher values always look higher.
const INFERNO = [
  [0, 0, 4], [22, 11, 57], [66, 10, 104], [106, 23, 110], [147, 38, 103], [188, 55, 84],
  [221, 81, 58], [243, 120, 25], [252, 165, 10], [246, 215, 70], [252, 255, 164],
];

const COLOURS = (() => {
  const table = new Uint8ClampedArray(256 * 4);
  for (let i = 0; i < 256; i++) {
    const share = i / 255, at = share * (INFERNO.length - 1);
    const low = Math.min(Math.floor(at), INFERNO.length - 2);
    for (let c = 0; c < 3; c++) {
      table[4 * i + c] = INFERNO[low][c] + (at - low) * (INFERNO[low + 1][c] - INFERNO[low][c]);
    }
    table[4 * i + 3] = 255 * (0.3 + 0.52 * Math.sqrt(share));
  }
  return table;
})();

const FINE = 4; // pixels painted along a cell; the browser interpolates between them

/** Paint a heatmap, FINE x FINE pixels a cell, so that the centre of cell i is at FINE (i + 1/2). */
export function paint(canvas, { map, best, width, height }) {
  if (canvas.width !== width * FINE || canvas.height !== height * FINE) {
    canvas.width = width * FINE;
    canvas.height = height * FINE;
  }
  const shares = new Float32Array(map.length);
  for (let i = 0; i < map.length; i++) {
    shares[i] = Math.exp((map[i] - map[best]) / SCORE_TEMPERATURE);
  }
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height), pixels = image.data;
  for (let y = 0, at = 0; y < canvas.height; y++) {
    const v = clamp((y + 0.5) / FINE - 0.5, 0, height - 1);
    const top = Math.floor(v), down = v - top;
    const above = top * width, below = Math.min(top + 1, height - 1) * width;
    for (let x = 0; x < canvas.width; x++, at += 4) {
      const u = clamp((x + 0.5) / FINE - 0.5, 0, width - 1);
      const left = Math.floor(u), next = Math.min(left + 1, width - 1), right = u - left;
      const share = (shares[above + left] * (1 - right) + shares[above + next] * right) * (1 - down)
        + (shares[below + left] * (1 - right) + shares[below + next] * right) * down;
      const colour = 4 * Math.round(255 * share);
      pixels[at] = COLOURS[colour];
      pixels[at + 1] = COLOURS[colour + 1];
      pixels[at + 2] = COLOURS[colour + 2];
      pixels[at + 3] = COLOURS[colour + 3];
    }
  }
  context.putImageData(image, 0, 0);
}

/** Canvas transform from painted pixels to pixels of the image. */
export function placement({ toPoints: [right, down, origin] }) {
  const half = [0, 1].map((axis) => origin[axis] - (right[axis] + down[axis]) / 2);
  return [
    right[0] / FINE, right[1] / FINE, down[0] / FINE, down[1] / FINE, half[0], half[1],
  ];
}
