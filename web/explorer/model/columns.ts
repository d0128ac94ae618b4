// Rows of a table with a likelihood for each column: what src/elboroom/explorer/columns.py describes.

import type { Arrays } from "../shared/arrays";
import type { Op } from "../shared/facts";

type Read = (name: string) => Float32Array;
/** From the features of a family to the numbers of each of its columns. */
type Family = (features: Float32Array, count: number, read: Read, sizes: number[]) => number[][];

const each = (count: number, f: (i: number) => number): number[][] => Array.from({ length: count }, (_, i) => [f(i)]);

const sigmoid = (v: number): number => 1 / (1 + Math.exp(-v));

/** A number from its standardised form. */
function original(y: number, i: number, read: Read): number {
  return ungauged(read("location")[i] + read("spread")[i] * y, i, read);
}

function ungauged(u: number, i: number, read: Read): number {
  return read("logged")[i] ? Math.exp(Math.max(-80, Math.min(80, u))) : u;
}

/** The decoder's numbers of counts, tamed as in Python, to their means. */
function count(raw: number, i: number, read: Read): number {
  const v = read("start")[i] + read("spread")[i] * raw;
  const beyond = Math.max(0, Math.abs(v) - 15);
  return Math.exp(Math.max(-15, Math.min(15, v)) + Math.sign(v) * Math.log1p(beyond));
}

function softmax(logits: ArrayLike<number>): number[] {
  const most = Math.max(...Array.from(logits));
  const raw = Array.from(logits, (v) => Math.exp(v - most));
  const total = raw.reduce((a, b) => a + b, 0);
  return raw.map((v) => v / total);
}

/** Piecewise linear function through (x, y), which goes on along its first and last piece. */
function through(v: number, x: Float32Array, y: Float32Array): number {
  let k = 0;
  while (k < x.length - 2 && v >= x[k + 1]) k++;
  return y[k] + ((v - x[k]) * (y[k + 1] - y[k])) / (x[k + 1] - x[k]);
}

const FAMILIES: Record<string, Family> = {
  number: (f, n, read) => each(n, (i) => original(f[i], i, read)),
  quantile: (f, n, read) => {
    const [knots, levels] = [read("knots"), read("levels")];
    const k = knots.length / n;
    return each(n, (i) =>
      ungauged(through(f[i], levels.subarray(i * k, (i + 1) * k), knots.subarray(i * k, (i + 1) * k)), i, read),
    );
  },
  mixture: (f, n, read) => {
    const start = read("start");
    const k = start.length / n;
    return each(n, (i) => {
      const weights = softmax(f.subarray(i * k, (i + 1) * k));
      return original(weights.reduce((sum, w, j) => sum + w * (start[i * k + j] + f[(n + i) * k + j]), 0), i, read);
    });
  },
  count: (f, n, read) => each(n, (i) => count(f[i], i, read)),
  zeroInflated: (f, n, read) => each(n, (i) => count(f[i], i, read) * sigmoid(-f[2 * n + i])),
  categories: (f, n, _read, sizes) => {
    let at = 0;
    return Array.from({ length: n }, (_, i) => softmax(f.subarray(at, (at += sizes[i]))));
  },
  ordinal: (f, n, read, sizes) => {
    const thresholds = read("thresholds");
    const k = thresholds.length / n;
    return Array.from({ length: n }, (_, i) => {
      const slope = softplusFrom(f[n + i], 1, 0.01);
      const below = (level: number): number =>
        level < 0 ? 0 : level >= sizes[i] - 1 ? 1 : sigmoid(slope * (thresholds[i * k + level] - f[i]));
      return Array.from({ length: sizes[i] }, (_unused, level) => below(level) - below(level - 1));
    });
  },
  boolean: (f, n) => Array.from({ length: n }, (_, i) => [sigmoid(-f[i]), sigmoid(f[i])]),
};

function softplusFrom(raw: number, start: number, least: number): number {
  const above = start - least;
  const v = raw + above + Math.log(-Math.expm1(-above));
  return (v > 20 ? v : Math.log1p(Math.exp(v))) + least;
}

interface FamilyFacts {
  kind: string;
  places: number[];
  width: number;
  tail: number | null;
  [name: string]: unknown;
}

/** From all features of a row to its cells: one number of each column, or the probability of each category. */
export function columns(op: Op, arrays: Arrays): (features: Float32Array) => Float32Array {
  const sizes = op.sizes as number[];
  const families = (op.families as FamilyFacts[]).map((facts) => {
    const known = new Map<string, Float32Array>();
    const read = (name: string): Float32Array => {
      if (!known.has(name)) known.set(name, arrays.floats(facts[name] as number));
      return known.get(name)!;
    };
    const tail = facts.tail === null ? new Float32Array() : arrays.floats(facts.tail);
    const run = FAMILIES[facts.kind];
    if (!run) throw new Error(`this page knows no columns of the kind ${facts.kind}`);
    return { ...facts, read, tail, run };
  });
  return (features) => {
    const cells: number[][] = [];
    let at = 0;
    for (const { places, width, read, tail, run } of families) {
      const own = new Float32Array(width + tail.length);
      own.set(features.subarray(at, at + width));
      own.set(tail, width);
      at += width;
      run(own, places.length, read, places.map((place) => sizes[place])).forEach((cell, i) => (cells[places[i]] = cell));
    }
    return Float32Array.from(cells.flat());
  };
}
