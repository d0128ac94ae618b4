// Networks whose code is a grid: the code as a grid, and attention between its places.

import { sizeOf, type Tensor } from "./tensor";

/** A row (c·h·w + e) as a grid (c + e, h, w): the rest, a condition, is the same at each place. */
export function fromCode(x: Tensor, grid: readonly number[]): Tensor {
  const [channels, height, width] = grid;
  const [size, places] = [sizeOf(grid), height * width];
  const more = x.data.length - size;
  const data = new Float32Array(size + more * places);
  data.set(x.data.subarray(0, size));
  for (let e = 0; e < more; e++) {
    const from = size + e * places;
    data.fill(x.data[size + e], from, from + places);
  }
  return { data, shape: [channels + more, height, width] };
}

/** Queries, keys and values (3c, h, w) to the mean value that each place takes from all (c, h, w). */
export function attend(x: Tensor): Tensor {
  const [threefold, height, width] = x.shape;
  const [channels, places] = [threefold / 3, height * width];
  const [keys, values] = [channels * places, 2 * channels * places];
  const data = new Float32Array(channels * places);
  const weights = new Float32Array(places);
  for (let to = 0; to < places; to++) {
    weights.fill(0);
    for (let c = 0; c < channels; c++) {
      const query = x.data[c * places + to] / Math.sqrt(channels);
      for (let from = 0; from < places; from++) weights[from] += query * x.data[keys + c * places + from];
    }
    softmax(weights);
    for (let c = 0; c < channels; c++) {
      let sum = 0;
      for (let from = 0; from < places; from++) sum += weights[from] * x.data[values + c * places + from];
      data[c * places + to] = sum;
    }
  }
  return { data, shape: [channels, height, width] };
}

function softmax(logits: Float32Array): void {
  const most = logits.reduce((a, b) => Math.max(a, b), -Infinity);
  let total = 0;
  for (let i = 0; i < logits.length; i++) total += logits[i] = Math.exp(logits[i] - most);
  for (let i = 0; i < logits.length; i++) logits[i] /= total;
}
