// The choice of the condition of a conditional model.

import { make, menu } from "../shared/dom";
import { fixed } from "../shared/format";
import type { Context } from "./context";

const MOST = 16; // numbers of a vector that get a slider

/** The choice; null for a model without a condition. */
export function conditionChoice(context: Context): HTMLElement | null {
  const { condition } = context.facts;
  if (!condition) return null;
  return condition.kind === "labels" ? labels(context, condition.names) : vector(context, condition.size);
}

function change(context: Context, to: Float32Array, how: string): void {
  const { store, model } = context;
  const { code, condition } = store.kept;
  const moved = condition ? model.carried(code, condition, to) : code;
  store.keep({ code: moved, condition: to, point: null, origin: how });
}

function labels(context: Context, names: string[]): HTMLElement {
  const { store } = context;
  const choice = menu("Condition", names, (i) => {
    const to = new Float32Array(names.length);
    to[i] = 1;
    change(context, to, `the same place, given ${names[i]}`);
  });
  const update = (): void => {
    const { condition } = store.shown;
    if (condition) choice.value = String(condition.indexOf(Math.max(...condition)));
  };
  store.on("shown", update);
  update();
  return make("label", { class: "given" }, "given ", choice);
}

function vector(context: Context, size: number): HTMLElement {
  const { store, points } = context;
  const rows = Array.from({ length: Math.min(MOST, size) }, (_, i) => {
    let [low, high] = [Infinity, -Infinity];
    for (let point = 0; point < points.count; point++) {
      const value = points.condition(point)![i];
      [low, high] = [Math.min(low, value), Math.max(high, value)];
    }
    const input = make("input", { type: "range", min: low, max: high, step: "any", "aria-label": `Condition ${i}` });
    const value = make("output", {});
    input.addEventListener("input", () => {
      const to = Float32Array.from(store.kept.condition!);
      to[i] = Number(input.value);
      change(context, to, "another condition");
    });
    return { input, value, element: make("label", { class: "line" }, `c${i}`, input, value) };
  });
  const update = (): void =>
    rows.forEach(({ input, value }, i) => {
      const now = store.shown.condition?.[i] ?? 0;
      input.value = String(now);
      value.textContent = fixed(now);
    });
  store.on("shown", update);
  update();
  return make("div", { class: "given" }, ...rows.map(({ element }) => element));
}
