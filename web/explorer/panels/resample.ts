// Pictures resized as Pillow does (Lanczos), which is how training images were resized.

/** Largest centred part (left, top, width, height) with the aspect of width : height. */
export function centred(from: [number, number], width: number, height: number): [number, number, number, number] {
  const across = Math.max(1, Math.min(from[0], evenly((from[1] * width) / height)));
  const down = Math.max(1, Math.min(from[1], evenly((from[0] * height) / width)));
  return [Math.floor((from[0] - across) / 2), Math.floor((from[1] - down) / 2), across, down];
}

/** Round as Python does: halves to the even number. */
function evenly(value: number): number {
  const floor = Math.floor(value);
  if (value - floor !== 0.5) return Math.round(value);
  return floor % 2 ? floor + 1 : floor;
}

/** Bytes (height, width, channels) of the centre, of which one row or column more is left out at the end if they are odd. */
export function middle(bytes: Uint8Array, from: [number, number], to: [number, number], channels: number): Uint8Array {
  const left = Math.floor((from[0] - to[0]) / 2);
  const top = Math.floor((from[1] - to[1]) / 2);
  const found = new Uint8Array(to[0] * to[1] * channels);
  for (let y = 0; y < to[1]; y++) {
    const start = ((top + y) * from[0] + left) * channels;
    found.set(bytes.subarray(start, start + to[0] * channels), y * to[0] * channels);
  }
  return found;
}

/** Bytes (height, width, channels) resized in both directions, first across. */
export function lanczos(bytes: Uint8Array, from: [number, number], to: [number, number], channels: number): Uint8Array {
  const [width, height] = from;
  const across = weights(width, to[0]);
  const rows = new Uint8Array(height * to[0] * channels);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < to[0]; x++)
      for (let c = 0; c < channels; c++) {
        const { start, taps } = across[x];
        let sum = 0;
        for (let k = 0; k < taps.length; k++) sum += taps[k] * bytes[(y * width + start + k) * channels + c];
        rows[(y * to[0] + x) * channels + c] = clamp(sum);
      }
  const up = weights(height, to[1]);
  const found = new Uint8Array(to[0] * to[1] * channels);
  for (let y = 0; y < to[1]; y++)
    for (let x = 0; x < to[0]; x++)
      for (let c = 0; c < channels; c++) {
        const { start, taps } = up[y];
        let sum = 0;
        for (let k = 0; k < taps.length; k++) sum += taps[k] * rows[((start + k) * to[0] + x) * channels + c];
        found[(y * to[0] + x) * channels + c] = clamp(sum);
      }
  return found;
}

const clamp = (value: number): number => Math.max(0, Math.min(255, Math.round(value)));

function weights(from: number, to: number): { start: number; taps: number[] }[] {
  const scale = from / to;
  const stretch = Math.max(1, scale);
  const reach = 3 * stretch;
  return Array.from({ length: to }, (_, i) => {
    const centre = (i + 0.5) * scale;
    const start = Math.max(0, Math.trunc(centre - reach + 0.5));
    const end = Math.min(from, Math.trunc(centre + reach + 0.5));
    const raw = Array.from({ length: end - start }, (_, k) => kernel((start + k - centre + 0.5) / stretch));
    const total = raw.reduce((a, b) => a + b, 0);
    return { start, taps: raw.map((v) => v / total) };
  });
}

function kernel(x: number): number {
  if (x <= -3 || x >= 3) return 0;
  return sinc(x) * sinc(x / 3);
}

const sinc = (x: number): number => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));
