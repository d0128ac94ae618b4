// A slider for each latent dimension, those with the highest rate first.

import { make } from "../shared/dom";
import { fixed, short } from "../shared/format";
import type { Dimension } from "../shared/facts";
import type { Context, Panel } from "./context";

const FIRST = 12; // shown before the others are asked for

interface Row {
  element: HTMLElement;
  input: HTMLInputElement;
  value: HTMLElement;
  dim: number;
}

export function sliderPanel(context: Context): Panel {
  const { facts, store } = context;
  const list = make("div", { class: "sliders" });
  const rows = facts.dims.map((dimension) => row(context, dimension));
  let all = rows.length <= FIRST;
  const more = make("button", { click: () => show(true) }, `Show all ${rows.length}`);
  const show = (every: boolean): void => {
    all = every;
    list.replaceChildren(...(all ? rows : rows.slice(0, FIRST)).map(({ element }) => element));
    more.hidden = all;
    update();
  };
  const update = (): void => {
    const { code } = store.shown;
    for (const { input, value, dim } of all ? rows : rows.slice(0, FIRST)) {
      if (document.activeElement !== input || Number(input.value) !== code[dim]) input.value = String(code[dim]);
      value.textContent = fixed(code[dim]);
    }
  };
  store.on("shown", update);
  show(all);
  const order = facts.dims[0]?.rate === null ? "the spread of their codes" : "their rates";
  const note = make("p", { class: "note" }, `Each slider moves one latent dimension. They are sorted by ${order}.`);
  return { title: "Sliders", element: make("div", {}, note, list, more) };
}

function row(context: Context, dimension: Dimension): Row {
  const { store } = context;
  const { dim, rate, sd, low, high } = dimension;
  const margin = 0.25 * Math.max(high - low, 1e-3);
  const id = `z${dim}`;
  const input = make("input", {
    ...{ type: "range", id, min: low - margin, max: high + margin, step: "any" },
    "aria-label": `Latent dimension ${dim}`,
  });
  const value = make("output", { for: id });
  input.addEventListener("input", () => {
    const code = Float32Array.from(store.kept.code);
    code[dim] = Number(input.value);
    store.keepCode(code, "moved by a slider");
  });
  const known = rate === null ? `± ${short(sd)}` : `${short(rate)} nats`;
  const about = `${known}, from ${fixed(low)} to ${fixed(high)}`;
  const title =
    (rate === null ? "standard deviation of the codes" : "mean rate") + " and range of the codes on the map";
  const words = make("span", { class: "about", title }, about);
  const element = make("div", { class: "slider" }, make("label", { for: id }, id), words, value, input);
  return { element, input, value, dim };
}
