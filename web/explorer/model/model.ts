// The model: codes to pictures, and pictures to codes.

import type { Arrays } from "../shared/arrays";
import type { Facts } from "../shared/facts";
import { product } from "./kernels";
import { compile, type Given } from "./program";
import { ask } from "./remote";
import type { Tensor } from "./tensor";

export interface Agreement {
  mean: number;
  most: number;
}

export class Model {
  readonly shape: number[];
  readonly latentDim: number;
  readonly canEncode: boolean;
  /** Whether the page runs the decoder itself. */
  readonly live: boolean;
  private readonly decoder: ((x: Tensor, given: Given) => Tensor) | null;
  private readonly encoder: ((x: Tensor, given: Given) => Tensor) | null;

  constructor(
    private readonly facts: Facts,
    private readonly arrays: Arrays,
  ) {
    this.shape = facts.shape;
    this.latentDim = facts.latentDim;
    this.decoder = facts.decoder ? compile(facts.decoder, arrays) : null;
    this.live = this.decoder !== null;
    this.encoder = facts.encoder ? compile(facts.encoder, arrays) : null;
    this.canEncode = this.encoder !== null || !this.live;
  }

  /** The nearest valid code: of length 1 if codes lie on a sphere. */
  onto(code: Float32Array): Float32Array {
    if (!this.facts.sphere) return code;
    const shifted = Float32Array.from(code);
    shifted[0] += 1e-6;
    const norm = Math.max(Math.hypot(...shifted), 1e-9);
    return shifted.map((v) => v / norm);
  }

  /** What a code decodes to, at once if the page runs the decoder itself. */
  decoded(code: Float32Array, condition: Float32Array | null): Float32Array | Promise<Float32Array> {
    if (this.live) return this.decode(code, condition);
    return ask("decode", { code: [...code], condition: condition && [...condition] });
  }

  /** The code of an example in model units. */
  async encoded(x: Float32Array, condition: Float32Array | null): Promise<Float32Array> {
    if (this.encoder) return this.encode(x, condition);
    return ask("encode", { x: [...x], condition: condition && [...condition] });
  }

  /** A code in units of the prior of each of several layers, and back; only a model behind the page has them. */
  async standard(code: Float32Array, condition: Float32Array | null): Promise<Float32Array> {
    return this.live ? code : ask("standard", { code: [...code], condition: condition && [...condition] });
  }

  async placed(code: Float32Array, condition: Float32Array | null): Promise<Float32Array> {
    return this.live ? code : ask("placed", { code: [...code], condition: condition && [...condition] });
  }

  /** A code at the same place in the prior of another condition: see VAE.carried in Python. */
  carried(code: Float32Array, from: Float32Array, to: Float32Array): Float32Array {
    const prior = this.facts.condition?.prior;
    if (!prior) return code;
    const at = (part: "mean" | "logScale", c: Float32Array): Float32Array => {
      const { weight, bias } = prior[part];
      const [rows, length] = this.arrays.shape(weight);
      return product(this.arrays.floats(weight), rows, c, 1, length, this.arrays.floats(bias));
    };
    const [m0, s0, m1, s1] = [at("mean", from), at("logScale", from), at("mean", to), at("logScale", to)];
    return code.map((v, i) => m1[i] + Math.exp(s1[i] - s0[i]) * (v - m0[i]));
  }

  /** Mean of p(x|z) in model units, as many numbers as the shape says; of categories the probabilities. */
  decode(code: Float32Array, condition: Float32Array | null = null): Float32Array {
    const z = this.onto(code);
    const beside = this.facts.condition?.inDecoder ? condition : null;
    const input = new Float32Array(z.length + (beside?.length ?? 0));
    input.set(z);
    if (beside) input.set(beside, z.length);
    if (!this.decoder) throw new Error("this page does not run the decoder itself");
    return this.decoder({ data: input, shape: [input.length] }, { condition }).data;
  }

  /** The code of an example in model units: the posterior mean. */
  encode(x: Float32Array, condition: Float32Array | null = null): Float32Array {
    if (!this.encoder) throw new Error("this page has no encoder");
    return this.encoder({ data: x, shape: this.shape }, { condition }).data;
  }

  /** How far pictures decoded here are from those that Python wrote into the page, in shares of the range. */
  agreement(): Agreement | null {
    if (!this.facts.checks) return null;
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
