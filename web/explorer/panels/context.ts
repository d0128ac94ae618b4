// What every panel works with.

import type { CodeMap } from "../map/map";
import type { Model } from "../model/model";
import type { Arrays } from "../shared/arrays";
import type { Facts } from "../shared/facts";
import { make } from "../shared/dom";
import { paint } from "../shared/paint";
import type { Points } from "../shared/points";
import type { Store, View } from "../shared/store";
import type { Thumbnails } from "../shared/thumbnails";

export interface Context {
  facts: Facts;
  arrays: Arrays;
  model: Model;
  points: Points;
  store: Store;
  thumbnails: Thumbnails | null;
  map: CodeMap;
  /** Add a view to the morph. */
  pick(view: View): void;
}

/** One panel of the sidebar. */
export interface Panel {
  title: string;
  element: HTMLElement;
  /** Called when it comes into sight. */
  opened?(): void;
}

/** A small picture of a view: the thumbnail of an example, or what its code decodes to. */
export function smallPicture(context: Context, view: View): HTMLCanvasElement {
  const canvas = make("canvas", { class: "small", role: "img", "aria-label": view.origin });
  const { thumbnails } = context;
  if (view.point !== null && thumbnails?.has(view.point)) void thumbnails.draw(view.point, canvas);
  else void paintDecoded(context, view, canvas);
  return canvas;
}

/** Draw what a view's code decodes to. */
export function paintDecoded({ model, facts }: Pick<Context, "model" | "facts">, view: View, canvas: HTMLCanvasElement): void | Promise<void> {
  const found = model.decoded(view.code, view.condition);
  if (!(found instanceof Promise)) return paint(canvas, found, facts);
  return found.then((x) => paint(canvas, x, facts));
}
