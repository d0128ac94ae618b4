// The examples on the map.

import type { Arrays } from "./arrays";
import type { Facts } from "./facts";
import type { View } from "./store";

export class Points {
  readonly count: number;
  readonly codes: Float32Array;
  readonly rows: Int32Array;
  readonly labels: Int32Array | null;
  readonly labelNames: string[];
  readonly names: string[];
  readonly dimensions: number;
  private readonly conditions: Float32Array | null;
  private readonly conditionSize: number;

  constructor(facts: Facts, arrays: Arrays) {
    const { points } = facts;
    this.count = points.count;
    this.codes = arrays.floats(points.codes);
    this.rows = arrays.whole(points.rows);
    this.labels = points.labels === null ? null : arrays.whole(points.labels);
    this.labelNames = points.labelNames;
    this.names = points.names;
    this.dimensions = facts.latentDim;
    this.conditions = points.conditions === null ? null : arrays.floats(points.conditions);
    this.conditionSize = facts.condition?.size ?? 0;
  }

  code(point: number): Float32Array {
    return this.codes.slice(point * this.dimensions, (point + 1) * this.dimensions);
  }

  condition(point: number): Float32Array | null {
    const size = this.conditionSize;
    return this.conditions && this.conditions.slice(point * size, (point + 1) * size);
  }

  label(point: number): string {
    return this.labels ? this.labelNames[this.labels[point]] : "";
  }

  /** Name of its file, or the number of its row. */
  name(point: number): string {
    return this.names[point] ?? `example ${this.rows[point].toLocaleString("en-US")}`;
  }

  view(point: number): View {
    return {
      code: this.code(point),
      condition: this.condition(point),
      point,
      origin: this.name(point),
    };
  }

  /** Mean code of all. */
  mean(): Float32Array {
    const d = this.dimensions;
    const sum = new Float64Array(d);
    for (let i = 0; i < this.codes.length; i++) sum[i % d] += this.codes[i];
    return Float32Array.from(sum, (v) => v / Math.max(1, this.count));
  }

  /** Examples with the nearest codes, nearest first, with their distances. */
  nearest(code: Float32Array, count: number, except: number | null): { point: number; distance: number }[] {
    const d = this.dimensions;
    const found: { point: number; distance: number }[] = [];
    for (let point = 0; point < this.count; point++) {
      if (point === except) continue;
      let square = 0;
      for (let i = 0, at = point * d; i < d; i++, at++) square += (this.codes[at] - code[i]) ** 2;
      if (found.length === count && square >= found[count - 1].distance) continue;
      let place = found.length;
      while (place > 0 && found[place - 1].distance > square) place--;
      found.splice(place, 0, { point, distance: square });
      if (found.length > count) found.pop();
    }
    return found.map(({ point, distance }) => ({ point, distance: Math.sqrt(distance) }));
  }
}
