// Runs the programs that src/elboroom/explorer/layers.py and heads.py write, on one example at a time.

import type { Arrays } from "../shared/arrays";
import type { Op } from "../shared/facts";
import { activate } from "./activations";
import { attend, fromCode } from "./attention";
import { columns } from "./columns";
import { convolve, convolveTransposed, product, type Window } from "./kernels";
import { permute, reshape, sizeOf, type Tensor } from "./tensor";

/** What a step may read besides its input. */
export interface Given {
  condition: Float32Array | null;
}

type Step = (x: Tensor, given: Given) => Tensor;

/** Make a function of a program; its weights are read once. */
export function compile(program: readonly Op[], arrays: Arrays): Step {
  const steps = program.map((op) => {
    const make = MAKERS[op.op];
    if (!make) throw new Error(`this page knows no operation ${op.op}`);
    return make(op, arrays);
  });
  return (x, given) => steps.reduce((value, step) => step(value, given), x);
}

type Maker = (op: Op, arrays: Arrays) => Step;

const numbers = (value: unknown): number[] => value as number[];
const array = (arrays: Arrays, value: unknown): Float32Array | null =>
  value === null || value === undefined ? null : arrays.floats(value as number);

const linear: Maker = (op, arrays) => {
  const weight = arrays.floats(op.weight as number);
  const [rows, length] = arrays.shape(op.weight as number);
  const bias = array(arrays, op.bias);
  return (x) => ({ data: product(weight, rows, x.data, 1, length, bias), shape: [rows] });
};

const conv: Maker = (op, arrays) => {
  const weight = arrays.floats(op.weight as number);
  const shape = arrays.shape(op.weight as number);
  const bias = array(arrays, op.bias);
  return (x) => convolve(x, weight, shape, bias, op as unknown as Window);
};

const convTransposed: Maker = (op, arrays) => {
  const weight = arrays.floats(op.weight as number);
  const shape = arrays.shape(op.weight as number);
  const bias = array(arrays, op.bias);
  const window = op as unknown as Window;
  return (x) => convolveTransposed(x, weight, shape, bias, window, numbers(op.outputPadding));
};

/** y = gain · x + shift, one of each for every channel. */
const affine: Maker = (op, arrays) => {
  const gain = array(arrays, op.gain)!;
  const shift = array(arrays, op.shift)!;
  return (x) => {
    const each = x.data.length / gain.length;
    return { data: x.data.map((v, i) => v * gain[(i / each) | 0] + shift[(i / each) | 0]), shape: x.shape };
  };
};

/** The same, one of each for every number. */
const elementwise: Maker = (op, arrays) => {
  const gain = array(arrays, op.gain)!;
  const shift = array(arrays, op.shift)!;
  return (x) => ({ data: x.data.map((v, i) => v * gain[i] + shift[i]), shape: x.shape });
};

const groupNorm: Maker = (op, arrays) => {
  const gain = array(arrays, op.gain);
  const shift = array(arrays, op.shift);
  return (x) => {
    const data = normalized(x.data, op.groups as number, op.eps as number);
    const each = x.data.length / x.shape[0];
    for (let i = 0; i < data.length; i++) {
      const channel = (i / each) | 0;
      data[i] = data[i] * (gain ? gain[channel] : 1) + (shift ? shift[channel] : 0);
    }
    return { data, shape: x.shape };
  };
};

const layerNorm: Maker = (op, arrays) => {
  const gain = array(arrays, op.gain);
  const shift = array(arrays, op.shift);
  return (x) => {
    const last = x.shape[x.shape.length - 1];
    const data = normalized(x.data, x.data.length / last, op.eps as number);
    for (let i = 0; i < data.length; i++)
      data[i] = data[i] * (gain ? gain[i % last] : 1) + (shift ? shift[i % last] : 0);
    return { data, shape: x.shape };
  };
};

/** Consecutive parts of equal length, each with mean 0 and variance 1. */
function normalized(data: Float32Array, parts: number, eps: number): Float32Array {
  const found = new Float32Array(data.length);
  const each = data.length / parts;
  for (let part = 0; part < parts; part++) {
    let sum = 0;
    for (let i = part * each; i < (part + 1) * each; i++) sum += data[i];
    const mean = sum / each;
    let squares = 0;
    for (let i = part * each; i < (part + 1) * each; i++) squares += (data[i] - mean) ** 2;
    const factor = 1 / Math.sqrt(squares / each + eps);
    for (let i = part * each; i < (part + 1) * each; i++) found[i] = (data[i] - mean) * factor;
  }
  return found;
}

/** Nearest neighbours; torch computes their places in float32, and so does this. */
const upsample: Maker = (op) => {
  const [height, width] = numbers(op.size);
  const source = (i: number, from: number, to: number): number =>
    Math.min(from - 1, Math.floor(Math.fround(i * Math.fround(from / to))));
  return (x) => {
    const [channels, h, w] = x.shape;
    const data = new Float32Array(channels * height * width);
    let at = 0;
    for (let c = 0; c < channels; c++)
      for (let i = 0; i < height; i++) {
        const row = (c * h + source(i, h, height)) * w;
        for (let j = 0; j < width; j++) data[at++] = x.data[row + source(j, w, width)];
      }
    return { data, shape: [channels, height, width] };
  };
};

/** Features of a coarse grid (rows · columns · c, h, w) as the pixels of an image (height, width, c). */
const shuffle: Maker = (op) => {
  const [height, width, channels] = numbers(op.shape);
  const [rows, columns] = numbers(op.stride);
  return (x) => {
    const [, h, w] = x.shape;
    const data = new Float32Array(height * width * channels);
    let at = 0;
    for (let y = 0; y < height; y++)
      for (let z = 0; z < width; z++)
        for (let c = 0; c < channels; c++) {
          const feature = ((y % rows) * columns + (z % columns)) * channels + c;
          data[at++] = x.data[(feature * h + Math.floor(y / rows)) * w + Math.floor(z / columns)];
        }
    return { data, shape: [height, width, channels] };
  };
};

/** A branch, added to the input or to what a shortcut makes of it. */
const residual: Maker = (op, arrays) => {
  const branch = compile(op.branch as Op[], arrays);
  const shortcut = compile((op.shortcut as Op[]) ?? [], arrays);
  return (x, given) => {
    const kept = shortcut(x, given);
    const added = branch(x, given);
    return { data: kept.data.map((v, i) => v + added.data[i]), shape: kept.shape };
  };
};

/** x + attention of every place of the grid to every other. */
const attention: Maker = (op, arrays) => {
  const [normalize, ask, answer] = [op.normalization, op.queries, op.out].map((part) =>
    compile(part as Op[], arrays),
  );
  return (x, given) => {
    const added = answer(attend(ask(normalize(x, given), given)), given);
    return { data: x.data.map((v, i) => v + added.data[i]), shape: x.shape };
  };
};

/** The first half of each row along the last axis. */
const half: Maker = () => (x) => {
  const last = x.shape[x.shape.length - 1];
  const kept = last / 2;
  const data = new Float32Array((x.data.length / last) * kept);
  for (let i = 0; i < data.length; i++) data[i] = x.data[Math.floor(i / kept) * last + (i % kept)];
  return { data, shape: [...x.shape.slice(0, -1), kept] };
};

/** The direction of a vector; one of length zero points along the first axis, as in Python. */
const unit: Maker = () => (x) => {
  const data = Float32Array.from(x.data);
  data[0] += 1e-6;
  const norm = Math.max(Math.hypot(...data), 1e-9);
  return { data: data.map((v) => v / norm), shape: x.shape };
};

/** The expected level in [0, 1] of categorical logits (..., c · levels). */
const expectedLevel: Maker = (op) => (x) => {
  const levels = op.levels as number;
  const data = new Float32Array(x.data.length / levels);
  for (let i = 0; i < data.length; i++) {
    const logits = x.data.subarray(i * levels, (i + 1) * levels);
    const most = logits.reduce((a, b) => Math.max(a, b), -Infinity);
    let [total, sum] = [0, 0];
    logits.forEach((logit, level) => {
      const weight = Math.exp(logit - most);
      total += weight;
      sum += (weight * level) / (levels - 1);
    });
    data[i] = sum / total;
  }
  return { data, shape: [...x.shape.slice(0, -1), x.shape[x.shape.length - 1] / levels] };
};

/** x + A c for the condition c. */
const addCondition: Maker = (op, arrays) => {
  const weight = arrays.floats(op.weight as number);
  const [rows, length] = arrays.shape(op.weight as number);
  return (x, { condition }) => {
    if (!condition) throw new Error("the condition is missing");
    const moved = product(weight, rows, condition, 1, length, null);
    return { data: x.data.map((v, i) => v + moved[i]), shape: x.shape };
  };
};

const MAKERS: Record<string, Maker> = {
  linear,
  conv,
  convTransposed,
  affine,
  elementwise,
  groupNorm,
  layerNorm,
  upsample,
  shuffle,
  residual,
  attention,
  fromCode: (op) => (x) => fromCode(x, numbers(op.grid)),
  half,
  unit,
  expectedLevel,
  addCondition,
  columns: (op, arrays) => {
    const run = columns(op, arrays);
    return (x) => {
      const data = run(x.data);
      return { data, shape: [data.length] };
    };
  },
  activation: (op) => (x) => ({
    data: activate(op.name as string, x.data, (op.slope as number) ?? 0),
    shape: x.shape,
  }),
  reshape: (op) => (x) => reshape(x, numbers(op.shape)),
  permute: (op) => (x) => permute(x, numbers(op.order)),
  first: (op) => (x) => ({ data: x.data.slice(0, op.count as number), shape: [op.count as number] }),
};

export { sizeOf };
