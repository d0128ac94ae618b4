// A row of a table as bars: a number within the range of the data, a category by its probabilities.

import { make } from "../shared/dom";
import { short } from "../shared/format";
import type { ColumnFacts } from "../shared/facts";

export interface Bars {
  element: HTMLElement;
  show(cells: Float32Array): void;
}

const SECONDS: Record<string, number> = { day: 86400, hour: 3600, minute: 60, second: 1 };

export function bars(columns: ColumnFacts[]): Bars {
  const rows = columns.map(barOf);
  const show = (cells: Float32Array): void => {
    let at = 0;
    rows.forEach(({ size, set }) => set(cells.subarray(at, (at += size))));
  };
  return { element: make("div", { class: "bars", id: "bars" }, ...rows.map(({ element }) => element)), show };
}

interface Bar {
  element: HTMLElement;
  size: number;
  set(cells: Float32Array): void;
}

function barOf(column: ColumnFacts): Bar {
  const fill = make("i", { class: "fill" });
  const value = make("output", {});
  const title = column.categories.length
    ? column.categories.join(", ")
    : `${text(column.low, column)} to ${text(column.high, column)} in the data, without the outermost percent`;
  const name = make("span", { class: "name", title: column.name }, column.name);
  const element = make("div", { class: "bar", title }, name, make("div", { class: "track" }, fill), value);
  const set = (cells: Float32Array): void => {
    if (column.categories.length) {
      const best = cells.indexOf(Math.max(...cells));
      fill.style.width = `${100 * cells[best]}%`;
      value.textContent = `${column.categories[best]} ${Math.round(100 * cells[best])} %`;
      element.title = column.categories.map((each, i) => `${each}: ${short(100 * cells[i], 2)} %`).join("\n");
    } else {
      const share = (cells[0] - column.low) / (column.high - column.low);
      fill.style.width = `${100 * Math.max(0, Math.min(1, share))}%`;
      value.textContent = text(cells[0], column);
    }
  };
  return { element, size: Math.max(1, column.categories.length), set };
}

function text(value: number, { unit, step, origin }: ColumnFacts): string {
  if (step && origin) {
    const date = new Date(Date.parse(`${origin}Z`) + value * SECONDS[step] * 1000);
    return Number.isNaN(date.getTime()) ? short(value) : date.toISOString().slice(0, 10);
  }
  return short(value) + (unit ? ` ${unit}` : "");
}
