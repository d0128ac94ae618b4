// One example inside a network: numbers in torch's order, and their shape.

export interface Tensor {
  data: Float32Array;
  shape: number[];
}

export const sizeOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/** The same numbers in another shape; one side may be -1. */
export function reshape(x: Tensor, shape: readonly number[]): Tensor {
  const known = sizeOf(shape.filter((side) => side !== -1));
  return { data: x.data, shape: shape.map((side) => (side === -1 ? x.data.length / known : side)) };
}

/** Axes of a three-dimensional tensor in another order, as torch's permute. */
export function permute(x: Tensor, order: readonly number[]): Tensor {
  const strides = [x.shape[1] * x.shape[2], x.shape[2], 1];
  const shape = order.map((axis) => x.shape[axis]);
  const [s0, s1, s2] = order.map((axis) => strides[axis]);
  const data = new Float32Array(x.data.length);
  let at = 0;
  for (let i = 0; i < shape[0]; i++)
    for (let j = 0; j < shape[1]; j++)
      for (let k = 0; k < shape[2]; k++) data[at++] = x.data[i * s0 + j * s1 + k * s2];
  return { data, shape };
}
