// Functions of single numbers, as torch computes them.

type Unary = (v: number, slope: number) => number;

const sigmoid = (v: number): number => 1 / (1 + Math.exp(-v));

/** The error function, by its series near 0 and a continued fraction elsewhere; to 1e-12. */
function erf(v: number): number {
  const a = Math.abs(v);
  if (a > 6) return Math.sign(v);
  if (a < 2.5) {
    let term = a;
    let sum = a;
    for (let n = 1; Math.abs(term) > 1e-16 && n < 80; n++) {
      term *= (-a * a) / n;
      sum += term / (2 * n + 1);
    }
    return (Math.sign(v) * 2 * sum) / Math.sqrt(Math.PI);
  }
  let fraction = 0;
  for (let k = 60; k > 0; k--) fraction = k / 2 / (a + fraction);
  return Math.sign(v) * (1 - Math.exp(-a * a) / Math.sqrt(Math.PI) / (a + fraction));
}

/** Mean of a continuous Bernoulli with logit v (arXiv:1907.06845): 1 / (1 − e^{−v}) − 1 / v. */
function continuousBernoulli(v: number): number {
  const size = Math.abs(v);
  if (size < 1e-2) return 0.5 + v / 12 - v ** 3 / 720;
  return 0.5 + Math.sign(v) * (-1 / Math.expm1(-size) - 1 / size - 0.5);
}

const FUNCTIONS: Record<string, Unary> = {
  relu: (v) => (v > 0 ? v : 0),
  tanh: (v) => Math.tanh(v),
  sigmoid,
  silu: (v) => v * sigmoid(v),
  leaky: (v, slope) => (v > 0 ? v : slope * v),
  elu: (v, slope) => (v > 0 ? v : slope * Math.expm1(v)),
  gelu: (v) => 0.5 * v * (1 + erf(v * Math.SQRT1_2)),
  geluTanh: (v) => 0.5 * v * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (v + 0.044715 * v ** 3))),
  softplus: (v) => (v > 20 ? v : Math.log1p(Math.exp(v))),
  continuousBernoulli,
};

/** Apply a function to every number. */
export function activate(name: string, data: Float32Array, slope: number): Float32Array {
  const f = FUNCTIONS[name];
  if (!f) throw new Error(`this page knows no activation ${name}`);
  const found = new Float32Array(data.length);
  for (let i = 0; i < data.length; i++) found[i] = f(data[i], slope);
  return found;
}
