// Animated GIFs: a palette of at most 256 colours, and LZW (GIF89a).

/** Encode pictures of one size, each pixel `scale` pixels wide; the first and the last stay for `ends` ms. */
export function encodeGif(images: ImageData[], scale: number, milliseconds: number, ends: number): Uint8Array<ArrayBuffer> {
  const [width, height] = [images[0].width * scale, images[0].height * scale];
  const { colors, indexOf } = palette(images);
  const out: number[] = [...text("GIF89a"), ...word(width), ...word(height), 0xf7, 0, 0];
  for (let i = 0; i < 256; i++) out.push(...(colors[i] ?? [0, 0, 0]));
  out.push(0x21, 0xff, 11, ...text("NETSCAPE2.0"), 3, 1, 0, 0, 0); // for ever
  images.forEach((image, i) => {
    const time = i === 0 || i === images.length - 1 ? ends : milliseconds;
    out.push(0x21, 0xf9, 4, 0, ...word(Math.round(time / 10)), 0, 0);
    out.push(0x2c, 0, 0, 0, 0, ...word(width), ...word(height), 0, 8);
    const packed = compress(enlarged(image, scale, indexOf));
    for (let at = 0; at < packed.length; at += 255) {
      const block = packed.subarray(at, at + 255);
      out.push(block.length, ...block);
    }
    out.push(0);
  });
  out.push(0x3b);
  return Uint8Array.from(out);
}

const text = (value: string): number[] => [...value].map((letter) => letter.charCodeAt(0));
const word = (value: number): number[] => [value & 255, value >> 8];

function enlarged(image: ImageData, scale: number, indexOf: (r: number, g: number, b: number) => number): Uint8Array {
  const { width, height, data } = image;
  const found = new Uint8Array(width * height * scale * scale);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const at = 4 * (y * width + x);
      const index = indexOf(data[at], data[at + 1], data[at + 2]);
      for (let v = 0; v < scale; v++) {
        const row = ((y * scale + v) * width + x) * scale;
        found.fill(index, row, row + scale);
      }
    }
  return found;
}

type Rgb = [number, number, number];

/** Greys as they are; of more than 256 colours, the means of boxes that each hold as many pixels (median cut). */
function palette(images: ImageData[]): { colors: Rgb[]; indexOf: (r: number, g: number, b: number) => number } {
  const grey = images.every(({ data }) => {
    for (let i = 0; i < data.length; i += 4) if (data[i] !== data[i + 1] || data[i] !== data[i + 2]) return false;
    return true;
  });
  if (grey) return { colors: Array.from({ length: 256 }, (_, i): Rgb => [i, i, i]), indexOf: (r) => r };
  const colors = medianCut(images);
  const known = new Map<number, number>();
  const indexOf = (r: number, g: number, b: number): number => {
    const key = (r << 16) | (g << 8) | b;
    let found = known.get(key);
    if (found === undefined) {
      let best = Infinity;
      found = 0;
      colors.forEach(([cr, cg, cb], i) => {
        const square = (cr - r) ** 2 + (cg - g) ** 2 + (cb - b) ** 2;
        if (square < best) [best, found] = [square, i];
      });
      known.set(key, found);
    }
    return found;
  };
  return { colors, indexOf };
}

function medianCut(images: ImageData[]): Rgb[] {
  const pixels: Rgb[] = [];
  for (const { data } of images)
    for (let i = 0; i < data.length; i += 4) pixels.push([data[i], data[i + 1], data[i + 2]]);
  let boxes = [pixels];
  while (boxes.length < 256) {
    const widest = boxes
      .map((box, i) => ({ i, ...longestAxis(box) }))
      .reduce((a, b) => (b.length * Math.sqrt(boxes[b.i].length) > a.length * Math.sqrt(boxes[a.i].length) ? b : a));
    if (widest.length === 0) break;
    const box = boxes[widest.i].sort((a, b) => a[widest.axis] - b[widest.axis]);
    const half = box.length >> 1;
    boxes = [...boxes.slice(0, widest.i), box.slice(0, half), box.slice(half), ...boxes.slice(widest.i + 1)];
  }
  return boxes.map((box) => [0, 1, 2].map((c) => Math.round(box.reduce((s, p) => s + p[c], 0) / box.length)) as Rgb);
}

const axes = new WeakMap<Rgb[], { axis: number; length: number }>();

function longestAxis(box: Rgb[]): { axis: number; length: number } {
  let found = axes.get(box);
  if (!found) {
    found = { axis: 0, length: -1 };
    for (let axis = 0; axis < 3; axis++) {
      let [low, high] = [255, 0];
      for (const pixel of box) {
        low = Math.min(low, pixel[axis]);
        high = Math.max(high, pixel[axis]);
      }
      if (box.length > 1 && high - low > found.length) found = { axis, length: high - low };
    }
    if (found.length < 0) found.length = 0;
    axes.set(box, found);
  }
  return found;
}

/** LZW with codes of 9 to 12 bits for 8-bit pixels. */
function compress(pixels: Uint8Array): Uint8Array {
  const out: number[] = [];
  let [buffer, bits, size] = [0, 0, 9];
  const emit = (code: number): void => {
    buffer |= code << bits;
    bits += size;
    for (; bits >= 8; bits -= 8, buffer >>>= 8) out.push(buffer & 255);
  };
  const [clear, end] = [256, 257];
  let [next, prefix] = [258, pixels[0]];
  const table = new Map<number, number>();
  emit(clear);
  for (let i = 1; i < pixels.length; i++) {
    const key = (prefix << 8) | pixels[i];
    const known = table.get(key);
    if (known !== undefined) {
      prefix = known;
      continue;
    }
    emit(prefix);
    if (next < 4096) {
      table.set(key, next);
      if (next === 1 << size && size < 12) size++;
      next++;
    } else {
      emit(clear);
      table.clear();
      [next, size] = [258, 9];
    }
    prefix = pixels[i];
  }
  emit(prefix);
  emit(end);
  if (bits > 0) out.push(buffer & 255);
  return Uint8Array.from(out);
}
