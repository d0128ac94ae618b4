// Labels with their colours, and the search: both show some points bright and the others faint.

import { make } from "../shared/dom";
import { colorOf, css } from "../shared/colors";
import { whole } from "../shared/format";
import type { Context } from "./context";

export interface Legend {
  element: HTMLElement;
  search: HTMLInputElement;
}

export function legend(context: Context): Legend {
  const { points, map, store } = context;
  const chosen = new Set<number>();
  const counts = new Array<number>(points.labelNames.length).fill(0);
  points.labels?.forEach((label) => counts[label]++);
  const chips = points.labelNames.map((name, label) => {
    const dot = make("i", { class: "dot" });
    dot.style.background = css(colorOf(label));
    const title = `${name}: ${whole(counts[label])} points. Click to show these only, and more to add them.`;
    const chip = make("button", { class: "chip", "aria-pressed": "false", title }, dot, make("span", {}, name));
    chip.addEventListener("click", () => {
      if (!chosen.delete(label)) chosen.add(label);
      chips.forEach((each, i) => each.setAttribute("aria-pressed", String(chosen.has(i))));
      update();
    });
    return chip;
  });

  const search = make("input", { type: "search", placeholder: "Search labels and names", "aria-label": "Search" });
  const found = make("output", { class: "found" });
  let matches: number[] = [];
  let at = -1;
  const update = (): void => {
    const wanted = search.value.trim().toLowerCase();
    const fits = (point: number): boolean =>
      !wanted ||
      points.label(point).toLowerCase().includes(wanted) ||
      points.name(point).toLowerCase().includes(wanted);
    const inLabel = (point: number): boolean => !chosen.size || chosen.has(points.labels![point]);
    matches = [];
    at = -1;
    for (let i = 0; i < points.count; i++) if (inLabel(i) && fits(i)) matches.push(i);
    const bright = new Uint8Array(points.count);
    for (const point of matches) bright[point] = 1;
    found.textContent = wanted || chosen.size ? `${whole(matches.length)} of ${whole(points.count)}` : "";
    map.highlight((point) => bright[point] === 1);
  };
  search.addEventListener("input", update);
  search.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && matches.length) {
      at = (at + (event.shiftKey ? matches.length - 1 : 1)) % matches.length;
      store.keep(points.view(matches[at]));
      found.textContent = `${whole(at + 1)} of ${whole(matches.length)}`;
    }
    if (event.key === "Escape") {
      search.value = "";
      update();
      search.blur();
    }
  });
  const field = make("div", { class: "search" }, search, found);
  const element = make("div", { class: "legend" }, make("div", { class: "chips" }, ...chips), field);
  return { element, search };
}
