// The explorer: reads what Python wrote into the page, and puts its parts together.

import { CodeMap } from "./map/map";
import { writtenMap } from "./map/places";
import { Model } from "./model/model";
import { attributePanel } from "./panels/attributes";
import type { Context, Panel } from "./panels/context";
import { dropPanel } from "./panels/drop";
import { header } from "./panels/header";
import { keys } from "./panels/keys";
import { legend } from "./panels/legend";
import { MorphPanel } from "./panels/morph";
import { neighbourPanel } from "./panels/neighbours";
import { pictureCard } from "./panels/picture";
import { runPanel } from "./panels/run";
import { sliderPanel } from "./panels/sliders";
import { tabs } from "./panels/tabs";
import { Tooltip } from "./panels/tooltip";
import { Arrays } from "./shared/arrays";
import { make } from "./shared/dom";
import type { Facts } from "./shared/facts";
import { Points } from "./shared/points";
import { Store, type View } from "./shared/store";
import { Thumbnails } from "./shared/thumbnails";

async function start(): Promise<void> {
  const read = (id: string): string => document.getElementById(id)!.textContent!;
  const facts = JSON.parse(read("facts")) as Facts;
  const arrays = await Arrays.read(JSON.parse(read("arrays")) as string, facts.arrays);
  document.getElementById("arrays")!.remove();
  const points = new Points(facts, arrays);
  const model = new Model(facts, arrays);
  const thumbnails = facts.atlas && new Thumbnails(facts.atlas, arrays);
  const store = new Store(first(points, facts));
  const tooltip = new Tooltip(facts, points, model, thumbnails);
  let pick = (_view: View): void => {};
  const written = facts.maps.map((each) => writtenMap(each, points, arrays));
  const map = new CodeMap(written[0], points, store, {
    pointed: (point, x, y) => tooltip.show(point, x, y),
    add: (view) => pick(view),
  });
  map.element.append(tooltip.element);
  const context: Context = { facts, arrays, model, points, store, thumbnails, map, pick: (view) => pick(view) };
  const morph = new MorphPanel(context);
  const others = [attributePanel(context), neighbourPanel(context), dropPanel(context), runPanel(context)];
  const sidebar = tabs([sliderPanel(context), morph, ...others].filter((panel): panel is Panel => panel !== null));
  pick = (view) => {
    morph.add(view);
    sidebar.open(morph.title);
  };
  const chosen = legend(context);
  document.getElementById("app")!.append(
    header(context, written),
    make("main", { class: "stage" }, chosen.element, map.element),
    make("aside", { class: "side" }, pictureCard(context), sidebar.element),
  );
  keys(context, morph, chosen.search);
  Object.assign(window, { explorer: { arrays, facts, model, store, map, morph, points } });
}

/** The view to begin with: the middle of the codes. */
function first(points: Points, facts: Facts): View {
  const middle = points.mean();
  const [{ point }] = points.nearest(middle, 1, null);
  return facts.latentDim <= 2 && !facts.condition
    ? { code: middle, condition: null, point: null, origin: "the middle of the codes" }
    : points.view(point);
}

start().catch((error: unknown) => {
  const why = error instanceof Error ? error.message : String(error);
  document.getElementById("app")!.replaceChildren(make("p", { class: "failed" }, `This page cannot be shown: ${why}`));
  throw error;
});
