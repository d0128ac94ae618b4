// The arrays of the page: base64 → deflate → typed arrays, weights turned back into float32.

import type { ArrayFacts } from "./facts";

export class Arrays {
  constructor(
    private readonly bytes: ArrayBuffer,
    private readonly index: ArrayFacts[],
  ) {}

  static async read(base64: string, index: ArrayFacts[]): Promise<Arrays> {
    const text = atob(base64);
    const packed = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) packed[i] = text.charCodeAt(i);
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Arrays(await new Response(stream).arrayBuffer(), index);
  }

  shape(number: number): number[] {
    return this.index[number].shape;
  }

  floats(number: number): Float32Array {
    const entry = this.index[number];
    const size = entry.shape.reduce((a, b) => a * b, 1);
    switch (entry.type) {
      case "float32":
        return new Float32Array(this.bytes, entry.offset, size);
      case "float16":
        return fromHalf(new Uint16Array(this.bytes, entry.offset, size));
      case "int8":
        return this.fromLevels(entry, size);
      default:
        return Float32Array.from(this.whole(number));
    }
  }

  whole(number: number): Int32Array {
    const entry = this.index[number];
    return new Int32Array(this.bytes, entry.offset, entry.shape[0]);
  }

  file(number: number): Uint8Array<ArrayBuffer> {
    const entry = this.index[number];
    return new Uint8Array(this.bytes, entry.offset, entry.shape[0]);
  }

  private fromLevels(entry: ArrayFacts, size: number): Float32Array {
    const levels = new Int8Array(this.bytes, entry.offset, size);
    const scales = this.floats(entry.scale!);
    const each = size / Math.max(1, scales.length);
    const found = new Float32Array(size);
    for (let row = 0; row < scales.length; row++)
      for (let i = row * each; i < (row + 1) * each; i++) found[i] = levels[i] * scales[row];
    return found;
  }
}

/** Numbers of half precision (IEEE 754 binary16) as float32. */
export function fromHalf(halves: Uint16Array): Float32Array {
  const found = new Float32Array(halves.length);
  for (let i = 0; i < halves.length; i++) {
    const half = halves[i];
    const exponent = (half >> 10) & 31;
    const fraction = half & 1023;
    let size: number;
    if (exponent === 0) size = fraction * 2 ** -24;
    else if (exponent === 31) size = fraction ? NaN : Infinity;
    else size = (1 + fraction / 1024) * 2 ** (exponent - 15);
    found[i] = half & 0x8000 ? -size : size;
  }
  return found;
}
