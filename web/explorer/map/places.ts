// Where codes lie on a map, and which code lies at a place.

import type { Arrays } from "../shared/arrays";
import type { MapFacts } from "../shared/facts";
import type { Points } from "../shared/points";

export interface MapView {
  name: string;
  axes: [string, string];
  /** (n, 2) */
  places: Float32Array;
  /** Place of a code; null where only examples have places. */
  place: ((code: Float32Array) => [number, number]) | null;
  /** The code at a place, with the rest of another code that the map does not show. */
  code: ((x: number, y: number, base: Float32Array) => Float32Array) | null;
}

/** The maps that Python wrote. */
export function writtenMap(facts: MapFacts, points: Points, arrays: Arrays): MapView {
  const { name, axes } = facts;
  if (facts.places !== null)
    return { name, axes, places: arrays.floats(facts.places), place: null, code: null };
  const centre = arrays.floats(facts.centre!);
  const directions = arrays.floats(facts.directions!);
  const d = centre.length;
  return planeMap(name, axes, points, centre, directions.slice(0, d), directions.slice(d));
}

/** A map by two orthonormal directions; in one dimension, by one, and heights that keep points apart. */
export function planeMap(
  name: string,
  axes: [string, string],
  points: Points,
  centre: Float32Array,
  across: Float32Array,
  up: Float32Array,
): MapView {
  const d = centre.length;
  const place = (code: Float32Array): [number, number] => [
    along(code, 0, centre, across),
    along(code, 0, centre, up),
  ];
  const places = new Float32Array(2 * points.count);
  for (let i = 0; i < points.count; i++) {
    places[2 * i] = along(points.codes, i * d, centre, across);
    places[2 * i + 1] = d === 1 ? strip(i, points) : along(points.codes, i * d, centre, up);
  }
  const code = (x: number, y: number, base: Float32Array): Float32Array => {
    const [bx, by] = place(base);
    return base.map((v, i) => v + (x - bx) * across[i] + (d === 1 ? 0 : (y - by) * up[i]));
  };
  return { name, axes, places, place, code };
}

function along(codes: Float32Array, from: number, centre: Float32Array, direction: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < centre.length; i++) sum += (codes[from + i] - centre[i]) * direction[i];
  return sum;
}

/** Height of a one-dimensional code: a band for each label, with points spread in it. */
function strip(point: number, points: Points): number {
  const bands = Math.max(1, points.labelNames.length);
  const label = points.labels ? points.labels[point] : 0;
  const jitter = ((point * 0.618034) % 1) - 0.5;
  return (1.5 * (label - (bands - 1) / 2 + 0.8 * jitter)) / bands;
}

/** The map on which two labels are apart: the axis of Fisher's discriminant, and the widest one across it. */
export function separatingMap(points: Points, a: number, b: number): MapView {
  const d = points.dimensions;
  const { labels, codes, labelNames } = points;
  const [inA, inB] = [a, b].map((label) => members(labels!, label));
  const [meanA, meanB] = [inA, inB].map((rows) => meanOf(codes, rows, d));
  const spread = new Float64Array(d * d);
  addScatter(spread, codes, inA, meanA, d);
  addScatter(spread, codes, inB, meanB, d);
  let trace = 0;
  for (let i = 0; i < d; i++) trace += spread[i * d + i];
  for (let i = 0; i < d; i++) spread[i * d + i] += 1e-3 * (trace / d) + 1e-12;
  const across = normal(solve(spread, Float64Array.from(meanB, (v, i) => v - meanA[i]), d));
  const centre = Float32Array.from(meanA, (v, i) => (v + meanB[i]) / 2);
  const up = widest(points, centre, across);
  const name = `${labelNames[a]} ↔ ${labelNames[b]}`;
  const axes: [string, string] = [`from ${labelNames[a]} to ${labelNames[b]}`, "widest direction across"];
  return planeMap(name, axes, points, centre, Float32Array.from(across), Float32Array.from(up));
}

function members(labels: Int32Array, label: number): number[] {
  const found: number[] = [];
  labels.forEach((each, i) => each === label && found.push(i));
  return found;
}

function meanOf(codes: Float32Array, rows: number[], d: number): Float64Array {
  const mean = new Float64Array(d);
  for (const row of rows) for (let i = 0; i < d; i++) mean[i] += codes[row * d + i] / rows.length;
  return mean;
}

function addScatter(to: Float64Array, codes: Float32Array, rows: number[], mean: Float64Array, d: number): void {
  const offset = new Float64Array(d);
  for (const row of rows) {
    for (let i = 0; i < d; i++) offset[i] = codes[row * d + i] - mean[i];
    for (let i = 0; i < d; i++) for (let j = 0; j < d; j++) to[i * d + j] += (offset[i] * offset[j]) / rows.length;
  }
}

function normal(vector: Float64Array): Float64Array {
  const norm = Math.hypot(...vector) || 1;
  return vector.map((v) => v / norm);
}

/** Solve a symmetric positive definite system by elimination. */
export function solve(matrix: Float64Array, right: Float64Array, d: number): Float64Array {
  const [a, b] = [Float64Array.from(matrix), Float64Array.from(right)];
  for (let k = 0; k < d; k++)
    for (let i = k + 1; i < d; i++) {
      const factor = a[i * d + k] / a[k * d + k];
      for (let j = k; j < d; j++) a[i * d + j] -= factor * a[k * d + j];
      b[i] -= factor * b[k];
    }
  for (let k = d - 1; k >= 0; k--) {
    for (let j = k + 1; j < d; j++) b[k] -= a[k * d + j] * b[j];
    b[k] /= a[k * d + k];
  }
  return b;
}

/** Direction of most variance orthogonal to another, by power iteration. */
function widest(points: Points, centre: Float32Array, across: Float64Array): Float64Array {
  const d = centre.length;
  if (d === 2) return Float64Array.of(-across[1], across[0]);
  let direction: Float64Array = new Float64Array(d).fill(1).map((v, i) => v + 0.1 * i);
  const mean = points.mean();
  for (let turn = 0; turn < 30; turn++) {
    const next = new Float64Array(d);
    for (let row = 0; row < points.count; row++) {
      let sum = 0;
      for (let i = 0; i < d; i++) sum += (points.codes[row * d + i] - mean[i]) * direction[i];
      for (let i = 0; i < d; i++) next[i] += sum * (points.codes[row * d + i] - mean[i]);
    }
    let shared = 0;
    for (let i = 0; i < d; i++) shared += next[i] * across[i];
    direction = normal(next.map((v, i) => v - shared * across[i]));
  }
  return direction;
}
