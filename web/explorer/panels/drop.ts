// A picture from outside: prepared as in training, encoded, and decoded again.

import { make } from "../shared/dom";
import type { Facts } from "../shared/facts";
import { short } from "../shared/format";
import { paint } from "../shared/paint";
import type { Context, Panel } from "./context";
import { centred, lanczos, middle } from "./resample";

export function dropPanel(context: Context): Panel | null {
  const { facts, model, store } = context;
  if (facts.shape.length !== 3 || ![1, 3].includes(facts.shape[2])) return null;
  if (!model.canEncode) {
    const note = `This page cannot encode pictures: it cannot run ${facts.withoutEncoder}.`;
    return { title: "Picture", element: make("p", { class: "note" }, note) };
  }
  const seen = make("canvas", { class: "small", role: "img", "aria-label": "The picture as the model sees it" });
  const rebuilt = make("canvas", { class: "small", role: "img", "aria-label": "Its reconstruction" });
  const result = make(
    "div",
    { class: "before-after", hidden: true },
    make("figure", {}, seen, make("figcaption", {}, "as the model sees it")),
    make("figure", {}, rebuilt, make("figcaption", {}, "reconstruction")),
  );
  const status = make("p", { class: "note", role: "status" });

  const take = async (file: Blob, name: string): Promise<void> => {
    try {
      const { x, how } = await prepared(file, context);
      const condition = store.kept.condition;
      const code = await model.encoded(x, condition);
      const decoded = await model.decoded(code, condition);
      paint(seen, x, facts);
      paint(rebuilt, decoded, facts);
      const width = facts.valueRange[1] - facts.valueRange[0];
      const error = x.reduce((sum, v, i) => sum + Math.abs(v - decoded[i]), 0) / x.length / width;
      result.hidden = false;
      status.textContent = `${name}: ${how}. Mean difference of the two: ${short(100 * error)} % of the range from black to white.`;
      store.keep({ code, condition, point: null, origin: name });
    } catch {
      status.textContent = `${name} is not a picture that this browser can read; try PNG or JPEG.`;
    }
  };
  const input = make("input", { type: "file", accept: "image/*", class: "hidden-input" });
  input.addEventListener("change", () => {
    const file = input.files?.[0];
    if (file) void take(file, file.name);
    input.value = "";
  });
  listenForFiles((file, name) => void take(file, name));
  const target = make("label", { class: "drop" }, "Drop a picture here, paste one, or choose a file", input);
  const note = make("p", { class: "note" }, preparation(context));
  return { title: "Picture", element: make("div", { class: "stack" }, target, note, result, status) };
}

function listenForFiles(take: (file: Blob, name: string) => void): void {
  const first = (files: FileList | undefined | null, event: Event): void => {
    if (!files?.length) return;
    event.preventDefault();
    take(files[0], files[0].name || "pasted picture");
  };
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    first(event.dataTransfer?.files, event);
  });
  document.addEventListener("paste", (event) => first(event.clipboardData?.files, event));
}

function preparation({ facts }: Context): string {
  const faces = facts.preparation.ways.some(({ align }) => ["auto", "detect", "landmarks"].includes(align));
  const grey = facts.shape[2] === 1 ? ", in grey" : "";
  const steps = `The middle is cut out and resized to ${sizes(facts)}${grey}`;
  return faces
    ? `${steps}. In training, faces were found and aligned, which this page cannot do: cut the face out first, or use “elboroom reconstruct”.`
    : `${steps}, as in training. The picture does not leave this page.`;
}

/** The size that pictures are resized to, and that of the centre of them that the model takes, if it differs. */
function sizes({ shape: [height, width], preparation: { stored } }: Facts): string {
  return stored ? `${stored[1]} × ${stored[0]}, of which the model sees the centre ${width} × ${height}` : `${width} × ${height}`;
}

/** A picture file as an example in model units, and what was done with it. */
async function prepared(file: Blob, { facts }: Context): Promise<{ x: Float32Array; how: string }> {
  const [height, width, channels] = facts.shape;
  const image = await createImageBitmap(file, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  const canvas = make("canvas", { width: image.width, height: image.height });
  const context = canvas.getContext("2d", { willReadFrequently: true })!;
  context.fillStyle = "#fff";
  context.fillRect(0, 0, image.width, image.height);
  context.drawImage(image, 0, 0);
  const [tall, wide] = facts.preparation.stored ?? [height, width];
  const [left, top, across, down] = centred([image.width, image.height], wide, tall);
  const same = image.width === width && image.height === height;
  const [cut, rows] = same ? [width, height] : [across, down];
  const { data } = context.getImageData(same ? 0 : left, same ? 0 : top, cut, rows);
  const bytes = new Uint8Array(cut * rows * channels);
  for (let i = 0; i < cut * rows; i++) {
    const [r, g, b] = [data[4 * i], data[4 * i + 1], data[4 * i + 2]];
    if (channels === 3) bytes.set([r, g, b], 3 * i);
    else bytes[i] = (r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16; // ITU-R 601, as Pillow
  }
  const resized = (): Uint8Array => lanczos(bytes, [across, down], [wide, tall], channels);
  const pixels = same ? bytes : middle(resized(), [wide, tall], [width, height], channels);
  const [low, high] = facts.valueRange;
  const x = Float32Array.from(pixels, (v) => low + (v / 255) * (high - low));
  const how = same ? "taken as it is" : `the middle was cut out and resized to ${sizes(facts)}`;
  return { x: onLevels(x, facts), how };
}

/** The nearest values that the model was trained on. */
function onLevels(x: Float32Array, { levels }: { levels: { threshold: boolean; spacing: number | null } }): Float32Array {
  if (levels.threshold) return x.map((v) => (v >= 0.5 ? 1 : 0));
  const { spacing } = levels;
  return spacing === null ? x : x.map((v) => Math.round(v / spacing) * spacing);
}
