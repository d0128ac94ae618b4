// The model: codes to pictures, and pictures to codes.

import type { Arrays } from "../shared/arrays";
import type { Facts } from "../shared/facts";
import { compile, type Given } from "./program";
import type { Tensor } from "./tensor";

export interface Agreement {
  mean: number;
  most: number;
}

export class Model {
  readonly shape: number[];
  readonly latentDim: number;
  readonly canEncode: boolean;
  private readonly decoder: (x: Tensor, given: Given) => Tensor;
  private readonly encoder: ((x: Tensor, given: Given) => Tensor) | null;

  constructor(
    private readonly facts: Facts,
    private readonly arrays: Arrays,
  ) {
    this.shape = facts.shape;
    this.latentDim = facts.latentDim;
    this.decoder = compile(facts.decoder, arrays);
    this.encoder = facts.encoder ? compile(facts.encoder, arrays) : null;
    this.canEncode = this.encoder !== null;
  }

  /** The nearest valid code: of length 1 if codes lie on a sphere. */
  onto(code: Float32Array): Float32Array {
    if (!this.facts.sphere) return code;
    const shifted = Float32Array.from(code);
    shifted[0] += 1e-6;
    const norm = Math.max(Math.hypot(...shifted), 1e-9);
    return shifted.map((v) => v / norm);
  }

  /** Mean of p(x|z) in model units, as many numbers as the shape says. */
  decode(code: Float32Array, condition: Float32Array | null = null): Float32Array {
    const z = this.onto(code);
    const beside = this.facts.condition?.inDecoder ? condition : null;
    const input = new Float32Array(z.length + (beside?.length ?? 0));
    input.set(z);
    if (beside) input.set(beside, z.length);
    return this.decoder({ data: input, shape: [input.length] }, { condition }).data;
  }

  /** The code of an example in model units: the posterior mean. */
  encode(x: Float32Array, condition: Float32Array | null = null): Float32Array {
    if (!this.encoder) throw new Error("this page has no encoder");
    return this.encoder({ data: x, shape: this.shape }, { condition }).data;
  }

  /** How far pictures decoded here are from those that Python wrote into the page, in shares of the range. */
  agreement(): Agreement {
    const { codes, decoded, conditions } = this.facts.checks;
    const [z, exact] = [this.arrays.floats(codes), this.arrays.floats(decoded)];
    const c = conditions === null ? null : this.arrays.floats(conditions);
    const count = this.arrays.shape(codes)[0];
    const size = exact.length / count;
    const width = this.shape.length === 3 ? this.facts.valueRange[1] - this.facts.valueRange[0] : spread(exact);
    let [sum, most] = [0, 0];
    for (let i = 0; i < count; i++) {
      const code = z.slice(i * this.latentDim, (i + 1) * this.latentDim);
      const each = c ? c.length / count : 0;
      const found = this.decode(code, c ? c.slice(i * each, (i + 1) * each) : null);
      for (let j = 0; j < size; j++) {
        const difference = Math.abs(found[j] - exact[i * size + j]) / width;
        sum += difference;
        most = Math.max(most, difference);
      }
    }
    return { mean: sum / exact.length, most };
  }
}

function spread(values: Float32Array): number {
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  const variance = values.reduce((a, b) => a + (b - mean) ** 2, 0) / values.length;
  return Math.sqrt(variance) || 1;
}
