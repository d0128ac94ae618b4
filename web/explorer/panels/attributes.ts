// Attribute arithmetic: move the code by the difference of two labels' mean codes.

import { make, menu } from "../shared/dom";
import { fixed } from "../shared/format";
import type { View } from "../shared/store";
import type { Context, Panel } from "./context";

export function attributePanel(context: Context): Panel | null {
  const { facts, arrays, points, store } = context;
  if (!facts.classes || points.labelNames.length < 2) return null;
  const { counts } = facts.classes;
  const means = arrays.floats(facts.classes.means);
  const d = facts.latentDim;
  const mean = (label: number): Float32Array => means.subarray(label * d, (label + 1) * d);
  /** Mean code of all labels but one. */
  const others = (label: number): Float64Array => {
    const sum = new Float64Array(d);
    const total = counts.reduce((all, count, i) => all + (i === label ? 0 : count), 0);
    counts.forEach((count, i) => i !== label && mean(i).forEach((v, k) => (sum[k] += (count * v) / total)));
    return sum;
  };

  let start: View = store.kept;
  let own = false;
  const strength = make("input", { type: "range", min: -2, max: 2, step: 0.01, value: 0, "aria-label": "Strength" });
  const value = make("output", {}, "0.00");
  const names = points.labelNames;
  const toward = menu("Toward", names, () => move());
  const away = menu("Away from", ["all others", ...names], () => move());
  const why = make("p", { class: "note" });
  const move = (): void => {
    const to = Number(toward.value);
    const from = Number(away.value) - 1;
    const missing = [to, from].find((label) => label >= 0 && !counts[label]);
    why.textContent = missing === undefined ? "" : `No training example has the label ${names[missing]}.`;
    if (missing !== undefined) return;
    const base = from < 0 ? others(to) : mean(from);
    const s = Number(strength.value);
    value.textContent = fixed(s);
    own = true;
    store.keep({
      code: start.code.map((v, k) => v + s * (mean(to)[k] - base[k])),
      condition: start.condition,
      point: s === 0 ? start.point : null,
      origin: s === 0 ? start.origin : `${start.origin} ${s < 0 ? "−" : "+"} ${fixed(Math.abs(s))} × (${names[to]} − ${from < 0 ? "others" : names[from]})`,
    });
    own = false;
  };
  strength.addEventListener("input", move);
  store.on("kept", () => {
    if (own) return;
    start = store.kept;
    strength.value = "0";
    value.textContent = "0.00";
  });
  const note =
    "Moves the picked code along the difference of two labels’ mean codes. " +
    "Strength 1 is the whole difference, and below 0 it goes the other way.";
  const element = make(
    "div",
    { class: "stack" },
    make("p", { class: "note" }, note),
    make("div", { class: "pair" }, make("label", {}, "Toward ", toward), make("label", {}, "away from ", away)),
    make("div", { class: "line" }, make("span", {}, "Strength"), strength, value),
    why,
  );
  return { title: "Attributes", element };
}
