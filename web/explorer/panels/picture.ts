// The picture that the code decodes to, and beside it the example that it is the code of.

import { eachFrame, make } from "../shared/dom";
import { paint } from "../shared/paint";
import { short } from "../shared/format";
import type { Context } from "./context";

export function pictureCard(context: Context): HTMLElement {
  const { facts, model, points, store, thumbnails } = context;
  const picture = make("canvas", { class: "picture", id: "picture", role: "img", "aria-label": "Decoded picture" });
  const original = make("canvas", { class: "small", role: "img", "aria-label": "The example itself" });
  const example = make("figure", { class: "original", hidden: true }, original, make("figcaption", {}, "example"));
  const origin = make("div", { class: "origin" });
  const label = make("div", { class: "label" });
  const code = make("div", { class: "code", title: "The code" });
  const random = make("button", { click: () => store.keepCode(randomCode(context), "a draw near the data") }, "Random");
  random.title = "Show the code of a random example, moved a little (r)";
  const add = make("button", { class: "main", click: () => context.pick(store.shown) }, "Add to morph");
  add.title = "Use this code as the next point of a morph (m)";

  let drawn: number | null = -1;
  const update = eachFrame(() => {
    const view = store.shown;
    paint(picture, model.decode(view.code, view.condition), facts);
    if (drawn === -1) performance.mark("first picture");
    const { point } = view;
    origin.textContent = view.origin;
    label.textContent = point === null ? "" : points.label(point);
    code.textContent = codeText(view.code);
    if (point === drawn) return;
    drawn = point;
    example.hidden = point === null || !thumbnails?.has(point);
    if (point !== null && thumbnails?.has(point)) void thumbnails.draw(point, original);
  });
  store.on("shown", update);
  update();
  const words = make("div", { class: "words" }, label, origin, code, make("div", { class: "buttons" }, add, random));
  const frame = make("div", { class: "frame" }, picture, example);
  return make("section", { class: "card", "aria-label": "Picture" }, frame, words);
}

function codeText(code: Float32Array): string {
  const first = [...code.slice(0, 4)].map((v) => short(v)).join(", ");
  return `z = (${first}${code.length > 4 ? `, … ${code.length} numbers` : ""})`;
}

/** The code of a random example, moved by a tenth of each dimension's standard deviation. */
export function randomCode({ points, facts }: Context): Float32Array {
  const code = points.code(Math.floor(Math.random() * points.count));
  for (const { dim, sd } of facts.dims) {
    const noise = Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
    code[dim] += 0.1 * sd * noise;
  }
  return code;
}
