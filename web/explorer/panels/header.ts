// The head of the page: what is shown, which map, zoom, and light or dark.

import { isDark } from "../shared/colors";
import { make, menu } from "../shared/dom";
import { whole } from "../shared/format";
import { separatingMap, type MapView } from "../map/places";
import type { Context } from "./context";

export function header(context: Context, written: MapView[]): HTMLElement {
  const { facts, points, map } = context;
  const several = points.labelNames.length > 1 && facts.latentDim > 1;
  const [from, to] = ["From", "To"].map((name) => menu(name, points.labelNames, () => between()));
  if (several) to.value = "1";
  const axis = make("span", { class: "axis", hidden: true }, from, " ↔ ", to);
  const between = (): void => {
    if (from.value === to.value) to.value = String((Number(from.value) + 1) % points.labelNames.length);
    map.show(separatingMap(points, Number(from.value), Number(to.value)));
  };
  const names = [...written.map(({ name }) => name), ...(several ? ["between two labels"] : [])];
  const maps = menu("Map", names, (i) => {
    axis.hidden = i < written.length;
    if (i < written.length) map.show(written[i]);
    else between();
  });
  const count = `${whole(points.count)}${points.count < facts.data.count ? ` of ${whole(facts.data.count)}` : ""} examples of ${facts.data.name}`;
  const button = (text: string, title: string, act: () => void): HTMLElement =>
    make("button", { class: "icon", title, "aria-label": title, click: act }, text);
  return make(
    "header",
    {},
    make("div", { class: "title" }, make("h1", {}, facts.name), make("span", { class: "sub" }, count)),
    make("div", { class: "tools" }, names.length > 1 ? make("label", {}, "Map ", maps) : null, axis),
    make(
      "div",
      { class: "tools" },
      button("+", "Zoom in (+)", () => map.zoom(1.4)),
      button("−", "Zoom out (−)", () => map.zoom(1 / 1.4)),
      button("⤢", "Show all (0)", () => map.reset()),
      button("◐", "Light or dark (t)", () => turnTheme(context)),
    ),
  );
}

/** Light or dark, against what the system says. */
export function turnTheme({ map }: Context): void {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  map.recolour();
}
