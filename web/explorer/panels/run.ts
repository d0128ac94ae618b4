// The run: its loss curve, the numbers of `evaluate`, its configuration, and how exact the page is.

import { draw, make } from "../shared/dom";
import { short, whole, words } from "../shared/format";
import type { Facts } from "../shared/facts";
import type { Context, Panel } from "./context";

export function runPanel(context: Context): Panel {
  const { facts } = context;
  const element = make(
    "div",
    { class: "stack" },
    curve(facts),
    section("Evaluation", numbers(facts)),
    section("Configuration", configuration(facts)),
    section("This page", exactness(context)),
  );
  return { title: "Run", element };
}

function section(title: string, ...content: (Node | null)[]): HTMLElement {
  return make("section", { class: "part" }, make("h3", {}, title), ...content);
}

interface Line {
  name: string;
  values: (number | null)[];
}

function curve(facts: Facts): HTMLElement | null {
  const { history } = facts;
  const epochs = history.epoch;
  const lines: Line[] = [];
  if (history.loss) lines.push({ name: "training loss", values: history.loss });
  if (history.val_loss) lines.push({ name: "validation loss", values: history.val_loss });
  if (!epochs || epochs.length < 2 || !lines.length) return null;
  const known = lines.flatMap(({ values }) => values.filter((v): v is number => v !== null));
  const sorted = [...known].sort((a, b) => a - b);
  const [low, high] = [sorted[0], sorted[Math.floor(0.98 * (sorted.length - 1))]];
  const last = epochs[epochs.length - 1] ?? epochs.length;
  const [width, height, left, bottom] = [340, 170, 48, 26];
  const x = (epoch: number): number => left + ((epoch - 1) / Math.max(1, last - 1)) * (width - left - 8);
  const y = (v: number): number => 8 + (1 - (Math.min(v, high) - low) / Math.max(1e-9, high - low)) * (height - bottom - 8);
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, class: "curve", role: "img", "aria-label": "Loss by epoch" });
  for (const value of ticks(low, high)) {
    svg.append(draw("line", { x1: left, x2: width - 8, y1: y(value), y2: y(value), class: "grid" }));
    svg.append(write(short(value), left - 6, y(value) + 4, "end"));
  }
  svg.append(write("1", left, height - 8, "start"), write(`epoch ${whole(last)}`, width - 8, height - 8, "end"));
  lines.forEach(({ values }, number) => {
    const points = values.flatMap((v, i) => (v === null ? [] : [`${x(epochs[i] ?? i + 1).toFixed(1)},${y(v).toFixed(1)}`]));
    svg.append(draw("polyline", { points: points.join(" "), class: `line${number}` }));
  });
  const legend = make("div", { class: "key" }, ...lines.map(({ name }, i) => make("span", { class: `key${i}` }, name)));
  return section("Loss, nats per example", svg as unknown as HTMLElement, legend);
}

function write(content: string, x: number, y: number, anchor: string): SVGElement {
  const found = draw("text", { x, y, "text-anchor": anchor });
  found.textContent = content;
  return found;
}

function ticks(low: number, high: number): number[] {
  const rough = (high - low) / 4 || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough) ?? rough;
  const found: number[] = [];
  for (let value = Math.ceil(low / step) * step; value <= high; value += step) found.push(value);
  return found;
}

function numbers(facts: Facts): HTMLElement {
  const { metrics } = facts;
  const rows = Object.entries(metrics).flatMap(([name, value]): [string, string][] => {
    if (name.endsWith("_stderr")) return [];
    const error = metrics[`${name}_stderr`];
    if (typeof value === "number")
      return [[words(name), (Number.isInteger(value) ? whole(value) : short(value, 5)) + (typeof error === "number" ? ` ± ${short(error, 2)}` : "")]];
    return typeof value === "string" || typeof value === "boolean" ? [[words(name), String(value)]] : [];
  });
  return rows.length ? table(rows) : make("p", { class: "note" }, `None yet: “elboroom evaluate” computes them.`);
}

function configuration(facts: Facts): HTMLElement {
  const parts = Object.entries(facts.config).map(([name, fields]) => {
    const rows = Object.entries(fields).flatMap(([field, value]): [string, string][] =>
      value === null || (Array.isArray(value) && !value.length) ? [] : [[words(field), valueText(value)]],
    );
    return make("details", {}, make("summary", {}, words(name)), table(rows));
  });
  return make("div", {}, ...parts);
}

function valueText(value: unknown): string {
  const text = Array.isArray(value) ? value.map(valueText).join(", ") : typeof value === "object" ? JSON.stringify(value) : String(value);
  return text.length > 200 ? `${text.slice(0, 200)} …` : text;
}

function exactness({ facts, model }: Context): HTMLElement {
  const { weights, points, data } = facts;
  const here = model.agreement();
  const rows: [string, string][] = [["points on the map", `${whole(points.count)} of ${whole(data.chosen)}`]];
  if (weights && here)
    rows.push(
      ["weights", weights.format],
      ["difference from PyTorch, mean", `${short(weights.meanError, 2)} of the range`],
      ["largest", short(weights.largestError, 2)],
      ["measured in this browser, mean", short(here.mean, 2)],
    );
  else rows.push(["decoder", "the full model, behind this page"]);
  return table([...rows, ["elboroom", facts.elboroom]]);
}

function table(rows: [string, string][]): HTMLElement {
  return make("table", {}, ...rows.map(([name, value]) => make("tr", {}, make("th", {}, name), make("td", {}, value))));
}
