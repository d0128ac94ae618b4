// Decoded examples as pictures: images pixel by pixel, rows of numbers as bars, time series as lines.

import type { ColumnFacts, Facts } from "./facts";

/** Pixels (red, green, blue, opacity) of an example of shape (h, w, c); 1, 3 or 4 channels. */
export function pixelsOf(x: Float32Array, shape: number[], range: [number, number]): ImageData {
  const [height, width, channels] = shape;
  const image = new ImageData(width, height);
  const [low, high] = range;
  for (let i = 0; i < width * height; i++) {
    for (let c = 0; c < 3; c++) {
      const value = x[i * channels + (channels >= 3 ? c : 0)];
      image.data[4 * i + c] = Math.round(Math.min(1, Math.max(0, (value - low) / (high - low))) * 255);
    }
    image.data[4 * i + 3] = 255;
  }
  return image;
}

/** Draw an example so that it fills a canvas. */
export function paint(canvas: HTMLCanvasElement, x: Float32Array, facts: Facts): void {
  if (facts.shape.length === 3) {
    const image = pixelsOf(x, facts.shape, facts.valueRange);
    if (canvas.width !== image.width) canvas.width = image.width;
    if (canvas.height !== image.height) canvas.height = image.height;
    canvas.getContext("2d")!.putImageData(image, 0, 0);
  } else chart(canvas, x, facts);
}

/** Where each cell of a row lies in the range of its column; of categories how probable the likeliest is. */
function shares(cells: Float32Array, columns: ColumnFacts[]): Float32Array {
  let at = 0;
  return Float32Array.from(columns, ({ categories, low, high }) => {
    const own = cells.subarray(at, (at += Math.max(1, categories.length)));
    return categories.length ? Math.max(...own) : Math.max(0, Math.min(1, (own[0] - low) / (high - low)));
  });
}

function chart(canvas: HTMLCanvasElement, x: Float32Array, facts: Facts): void {
  const [width, height] = [320, 200];
  canvas.width = width * 2;
  canvas.height = height * 2;
  const context = canvas.getContext("2d")!;
  context.scale(2, 2);
  const style = getComputedStyle(canvas);
  const channels = facts.shape.length === 2 ? facts.shape[1] : 1;
  if (facts.columns) x = shares(x, facts.columns);
  const steps = x.length / channels;
  const low = Math.min(0, ...x);
  const span = Math.max(1e-9, Math.max(0, ...x) - low);
  const y = (value: number): number => height - 8 - ((value - low) / span) * (height - 16);
  context.fillStyle = context.strokeStyle = style.getPropertyValue("--accent") || "#0072b2";
  if (channels > 1 || steps > 64) {
    for (let c = 0; c < channels; c++) {
      context.beginPath();
      for (let t = 0; t < steps; t++) context.lineTo((width * (t + 0.5)) / steps, y(x[t * channels + c]));
      context.stroke();
    }
    return;
  }
  for (let t = 0; t < steps; t++) {
    const [top, zero] = [y(x[t]), y(0)];
    context.fillRect((width * (t + 0.1)) / steps, Math.min(top, zero), (width * 0.8) / steps, Math.abs(top - zero));
  }
}
