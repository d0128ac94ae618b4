// Matrix products and convolutions. All are products of rows: rows of weights with rows of patches.

import type { Tensor } from "./tensor";

/**
 * out[r * columns + p] = bias[r] + Σ_k weight[r, k] · patches[p, k].
 * Eight sums at a time: two rows of weights with four patches, or four rows with one.
 */
export function product(
  weight: Float32Array,
  rows: number,
  patches: Float32Array,
  columns: number,
  length: number,
  bias: Float32Array | null,
): Float32Array {
  const out = new Float32Array(rows * columns);
  if (columns === 1) productOfVector(weight, rows, patches, length, out);
  else productOfPatches(weight, rows, patches, columns, length, out);
  if (bias)
    for (let r = 0; r < rows; r++) for (let p = 0; p < columns; p++) out[r * columns + p] += bias[r];
  return out;
}

function productOfVector(w: Float32Array, rows: number, x: Float32Array, n: number, out: Float32Array): void {
  let r = 0;
  for (; r + 3 < rows; r += 4) {
    let [a, b, c, d] = [0, 0, 0, 0];
    const [i, j, k, l] = [r * n, (r + 1) * n, (r + 2) * n, (r + 3) * n];
    for (let t = 0; t < n; t++) {
      const v = x[t];
      a += w[i + t] * v;
      b += w[j + t] * v;
      c += w[k + t] * v;
      d += w[l + t] * v;
    }
    out[r] = a;
    out[r + 1] = b;
    out[r + 2] = c;
    out[r + 3] = d;
  }
  for (; r < rows; r++) {
    let sum = 0;
    for (let t = 0; t < n; t++) sum += w[r * n + t] * x[t];
    out[r] = sum;
  }
}

function productOfPatches(
  w: Float32Array,
  rows: number,
  x: Float32Array,
  columns: number,
  n: number,
  out: Float32Array,
): void {
  let r = 0;
  for (; r + 1 < rows; r += 2) {
    const [i, j] = [r * n, (r + 1) * n];
    let p = 0;
    for (; p + 3 < columns; p += 4) {
      let [a0, a1, a2, a3, b0, b1, b2, b3] = [0, 0, 0, 0, 0, 0, 0, 0];
      const [q0, q1, q2, q3] = [p * n, (p + 1) * n, (p + 2) * n, (p + 3) * n];
      for (let t = 0; t < n; t++) {
        const u = w[i + t];
        const v = w[j + t];
        const x0 = x[q0 + t];
        const x1 = x[q1 + t];
        const x2 = x[q2 + t];
        const x3 = x[q3 + t];
        a0 += u * x0;
        a1 += u * x1;
        a2 += u * x2;
        a3 += u * x3;
        b0 += v * x0;
        b1 += v * x1;
        b2 += v * x2;
        b3 += v * x3;
      }
      const [top, below] = [r * columns + p, (r + 1) * columns + p];
      out[top] = a0;
      out[top + 1] = a1;
      out[top + 2] = a2;
      out[top + 3] = a3;
      out[below] = b0;
      out[below + 1] = b1;
      out[below + 2] = b2;
      out[below + 3] = b3;
    }
    for (; p < columns; p++) {
      let [a, b] = [0, 0];
      for (let t = 0; t < n; t++) {
        a += w[i + t] * x[p * n + t];
        b += w[j + t] * x[p * n + t];
      }
      out[r * columns + p] = a;
      out[(r + 1) * columns + p] = b;
    }
  }
  for (; r < rows; r++)
    for (let p = 0; p < columns; p++) {
      let sum = 0;
      for (let t = 0; t < n; t++) sum += w[r * n + t] * x[p * n + t];
      out[r * columns + p] = sum;
    }
}

export interface Window {
  stride: [number, number];
  padding: [number, number];
}

/** A convolution of x (c, h, w) with weights (out, c, kh, kw), as torch computes it. */
export function convolve(
  x: Tensor,
  weight: Float32Array,
  shape: readonly number[],
  bias: Float32Array | null,
  { stride, padding }: Window,
): Tensor {
  const [out, channels, kh, kw] = shape;
  const [, height, width] = x.shape;
  const down = Math.floor((height + 2 * padding[0] - kh) / stride[0]) + 1;
  const across = Math.floor((width + 2 * padding[1] - kw) / stride[1]) + 1;
  const length = channels * kh * kw;
  const patches = new Float32Array(down * across * length);
  let at = 0;
  for (let i = 0; i < down; i++)
    for (let j = 0; j < across; j++)
      for (let c = 0; c < channels; c++)
        for (let u = 0; u < kh; u++) {
          const y = i * stride[0] + u - padding[0];
          const row = (c * height + y) * width;
          const inside = y >= 0 && y < height;
          for (let v = 0; v < kw; v++, at++) {
            const z = j * stride[1] + v - padding[1];
            if (inside && z >= 0 && z < width) patches[at] = x.data[row + z];
          }
        }
  const data = product(weight, out, patches, down * across, length, bias);
  return { data, shape: [out, down, across] };
}

/** A transposed convolution of x (c, h, w) with weights (c, out, kh, kw), as torch computes it. */
export function convolveTransposed(
  x: Tensor,
  weight: Float32Array,
  shape: readonly number[],
  bias: Float32Array | null,
  { stride, padding }: Window,
  outputPadding: readonly number[],
): Tensor {
  const [channels, out, kh, kw] = shape;
  const [, height, width] = x.shape;
  const down = (height - 1) * stride[0] - 2 * padding[0] + kh + outputPadding[0];
  const across = (width - 1) * stride[1] - 2 * padding[1] + kw + outputPadding[1];
  const data = new Float32Array(out * down * across);
  for (let o = 0; o < out; o++) data.fill(bias ? bias[o] : 0, o * down * across, (o + 1) * down * across);
  for (let c = 0; c < channels; c++)
    for (let i = 0; i < height; i++)
      for (let j = 0; j < width; j++) {
        const value = x.data[(c * height + i) * width + j];
        if (value === 0) continue;
        for (let o = 0; o < out; o++)
          for (let u = 0; u < kh; u++) {
            const y = i * stride[0] + u - padding[0];
            if (y < 0 || y >= down) continue;
            const from = ((c * out + o) * kh + u) * kw;
            for (let v = 0; v < kw; v++) {
              const z = j * stride[1] + v - padding[1];
              if (z >= 0 && z < across) data[(o * down + y) * across + z] += value * weight[from + v];
            }
          }
      }
  return { data, shape: [out, down, across] };
}
