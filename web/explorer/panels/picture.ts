// The picture that the code decodes to, and beside it the example that it is the code of.

import { latest } from "../model/remote";
import { eachFrame, make } from "../shared/dom";
import { paint } from "../shared/paint";
import { short } from "../shared/format";
import { bars } from "./bars";
import { conditionChoice } from "./condition";
import type { Context } from "./context";

export function pictureCard(context: Context): HTMLElement {
  const { facts, points, store } = context;
  const origin = make("div", { class: "origin" });
  const label = make("div", { class: "label" });
  const code = make("div", { class: "code", title: "The code" });
  const random = make("button", { click: () => showRandom(context) }, "Random");
  random.title = facts.draws
    ? `Show a draw from the fitted prior: ${facts.draws.prior} (r)`
    : "Show the code of a random example, moved a little (r)";
  const add = make("button", { class: "main", click: () => context.pick(store.shown) }, "Add to morph");
  add.title = "Use this code as the next point of a morph (m)";
  const { element, show } = display(context);

  const update = eachFrame(() => {
    const view = store.shown;
    show();
    origin.textContent = view.origin;
    label.textContent = view.point === null ? "" : points.label(view.point);
    code.textContent = codeText(view.code);
  });
  store.on("shown", update);
  update();
  const buttons = make("div", { class: "buttons" }, add, random);
  const words = make("div", { class: "words" }, label, origin, code, conditionChoice(context), buttons);
  const kind = facts.columns ? "card tall" : "card";
  return make("section", { class: kind, "aria-label": "Decoded example" }, words, element);
}

/** Where the decoded example is drawn: a picture with the example itself, or bars for the columns of a table. */
function display({ facts, model, store, thumbnails }: Context): { element: HTMLElement; show: () => void } {
  const table = facts.columns && bars(facts.columns);
  const picture = make("canvas", { class: "picture", id: "picture", role: "img", "aria-label": "Decoded picture" });
  const original = make("canvas", { class: "small", role: "img", "aria-label": "The example itself" });
  const example = make("div", { class: "original", hidden: true, title: "The example itself" }, original);
  let drawn: number | null = null;
  let marked = false;
  const draw = (x: Float32Array): void => {
    if (table) table.show(x);
    else paint(picture, x, facts);
    failed.hidden = true;
    if (!marked) performance.mark("first picture");
    marked = true;
  };
  const failed = make("p", { class: "failed", role: "alert", hidden: true });
  const tell = (error: unknown): void => {
    failed.hidden = false;
    failed.textContent = `No answer from the model (${error instanceof Error ? error.message : String(error)}): is “elboroom explore” still running?`;
  };
  const show = latest(() => {
    const { code, condition, point } = store.shown;
    const found = model.decoded(code, condition);
    const wait = found instanceof Promise ? found.then(draw).catch(tell) : draw(found);
    if (point !== drawn) {
      drawn = point;
      example.hidden = point === null || !thumbnails?.has(point);
      if (point !== null && thumbnails?.has(point)) void thumbnails.draw(point, original);
    }
    return wait;
  });
  return { element: table ? table.element : make("div", { class: "frame" }, picture, example, failed), show };
}

function codeText(code: Float32Array): string {
  const first = [...code.slice(0, 4)].map((v) => short(v)).join(", ");
  return `z = (${first}${code.length > 4 ? `, … ${code.length} numbers` : ""})`;
}

/** Show a draw from the fitted prior if the page has some, and else a code near the data. */
export function showRandom(context: Context): void {
  const { arrays, facts, store } = context;
  if (!facts.draws) return store.keepCode(randomCode(context), "a draw near the data");
  const first = Math.floor(Math.random() * facts.draws.count) * facts.latentDim;
  store.keepCode(arrays.floats(facts.draws.codes).slice(first, first + facts.latentDim), "a draw from the fitted prior");
}

/** The code of a random example, moved by a tenth of each dimension's standard deviation. */
function randomCode({ points, facts }: Context): Float32Array {
  const code = points.code(Math.floor(Math.random() * points.count));
  for (const { dim, sd } of facts.dims) {
    const noise = Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
    code[dim] += 0.1 * sd * noise;
  }
  return code;
}
