// A slider for each latent dimension, those with the highest rate first.

import { latest } from "../model/remote";
import { make, menu } from "../shared/dom";
import { fixed, short } from "../shared/format";
import type { Dimension } from "../shared/facts";
import type { Context, Panel } from "./context";

const FIRST = 12; // shown before the others are asked for

interface Row {
  element: HTMLElement;
  input: HTMLInputElement;
  value: HTMLElement;
  dimension: Dimension;
}

export function sliderPanel(context: Context): Panel {
  const { facts, store, model } = context;
  const layered = facts.layers.length > 1;
  const list = make("div", { class: "sliders" });
  let all = false;
  let layer: number | null = null;
  let standard = store.kept.code;
  const rows = facts.dims.map((dimension) => row(dimension, (value) => move(dimension.dim, value)));
  const more = make("button", { click: () => show(true) });
  const chosen = (): Row[] => rows.filter(({ dimension }) => layer === null || dimension.layer === layer);
  const shown = (): Row[] => (all ? chosen() : chosen().slice(0, FIRST));

  const move = (dim: number, value: number): void => {
    standard = Float32Array.from(standard);
    standard[dim] = value;
    if (layered) place();
    else store.keepCode(standard, "moved by a slider");
  };
  // In a model of several layers a slider moves the code within its prior; the layers below follow.
  let own = false;
  const place = latest(async () => {
    const code = await model.placed(standard, store.kept.condition);
    own = true;
    store.keepCode(code, "moved by a slider");
    own = false;
  });
  const read = latest(async () => {
    const { code, condition } = store.kept;
    standard = await model.standard(code, condition);
    update(standard);
  });
  const update = (now: Float32Array): void => {
    for (const { input, value, dimension } of shown()) {
      input.value = String(now[dimension.dim]);
      value.textContent = fixed(now[dimension.dim]);
    }
  };
  const refresh = (): void => {
    if (!layered) {
      standard = store.kept.code;
      update(store.shown.code);
    } else if (own) update(standard);
    else read();
  };
  const show = (every: boolean): void => {
    all = every || chosen().length <= FIRST;
    list.replaceChildren(...shown().map(({ element }) => element));
    more.hidden = all;
    more.textContent = `Show all ${chosen().length}`;
    refresh();
  };
  store.on(layered ? "kept" : "shown", refresh);
  show(false);
  return { title: "Sliders", element: make("div", {}, note(facts.dims, layered), layerMenu(), list, more) };

  function layerMenu(): HTMLElement | null {
    if (!layered) return null;
    const names = facts.layers.map((_, i) => `layer ${i + 1}${i === 0 ? " (top)" : ""}`);
    const choice = menu("Layer", ["all layers", ...names], (i) => {
      layer = i === 0 ? null : i - 1;
      show(false);
    });
    return make("label", { class: "line pick-layer" }, "Move ", choice);
  }
}

function note(dims: Dimension[], layered: boolean): HTMLElement {
  const order = dims[0]?.rate === null ? "the spread of their codes" : "their rates";
  const units = layered ? " Values are in standard deviations of the prior given the layers above; the layers below follow." : "";
  return make("p", { class: "note" }, `Each slider moves one latent dimension. They are sorted by ${order}.${units}`);
}

function row(dimension: Dimension, moved: (value: number) => void): Row {
  const { dim, rate, sd, low, high } = dimension;
  const margin = 0.25 * Math.max(high - low, 1e-3);
  const id = `z${dim}`;
  const input = make("input", {
    ...{ type: "range", id, min: low - margin, max: high + margin, step: "any" },
    "aria-label": `Latent dimension ${dim}`,
  });
  const value = make("output", { for: id });
  input.addEventListener("input", () => moved(Number(input.value)));
  const known = rate === null ? `± ${short(sd, 2)}` : `${short(rate)} nats`;
  const about = `${known}, from ${short(low)} to ${short(high)}`;
  const title =
    (rate === null ? "standard deviation of the codes" : "mean rate") + " and range of the codes on the map";
  const words = make("span", { class: "about", title }, about);
  const element = make("div", { class: "slider" }, make("label", { for: id }, id), words, value, input);
  return { element, input, value, dimension };
}
