// The map: points, what is drawn over them, and what the pointer does.

import { eachFrame, make } from "../shared/dom";
import { colorOf, css } from "../shared/colors";
import type { Points } from "../shared/points";
import type { Store, View } from "../shared/store";
import { Viewport } from "./camera";
import { listen } from "./gestures";
import { Grid } from "./grid";
import { drawOverlay } from "./overlay";
import type { MapView } from "./places";
import { makeRenderer, type PointRenderer } from "./renderer";

const REACH = 12; // pixels around the pointer in which a point is found
const SNAP = 7; // pixels within which its own code is shown, where the map shows two of many dimensions

export interface MapHandlers {
  /** The point under the pointer has changed; null for none. */
  pointed(point: number | null, x: number, y: number): void;
  /** A place was clicked with the shift key. */
  add(view: View): void;
}

export class CodeMap {
  readonly element: HTMLElement;
  path: Float32Array[] = [];
  picks: Float32Array[] = [];
  private readonly viewport = new Viewport();
  private readonly points2d: HTMLCanvasElement;
  private readonly overlay: HTMLCanvasElement;
  private readonly renderer: PointRenderer;
  private readonly axes: HTMLElement;
  private grid!: Grid;
  private names: { text: string; x: number; y: number; color: string }[] = [];
  private isBright: (point: number) => boolean = () => true;
  readonly redraw = eachFrame(() => this.draw());

  constructor(
    private view: MapView,
    private readonly points: Points,
    private readonly store: Store,
    private readonly handlers: MapHandlers,
  ) {
    this.points2d = make("canvas", { class: "layer" });
    this.overlay = make("canvas", { class: "layer" });
    this.axes = make("div", { class: "axes", "aria-hidden": "true" });
    const help = "Map of the codes. Arrow keys move it, plus and minus zoom, 0 shows all.";
    const board = make("div", { class: "board", tabindex: 0, role: "application", "aria-label": help });
    board.append(this.points2d, this.overlay, this.axes);
    this.element = board;
    this.renderer = makeRenderer(this.points2d);
    this.show(view);
    this.colour();
    new ResizeObserver(() => this.fitToScreen()).observe(board);
    listen(board, this.viewport, {
      moved: () => {
        this.handlers.pointed(null, 0, 0);
        this.redraw();
      },
      hover: (x, y) => this.hover(x, y),
      left: () => this.leave(),
      click: (x, y, add) => this.click(x, y, add),
    });
    store.on("shown", this.redraw);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.recolour());
  }

  /** Another map of the same points. */
  show(view: MapView): void {
    this.view = view;
    this.grid = new Grid(view.places);
    this.renderer.setPlaces(view.places);
    this.viewport.fit(view.places);
    this.names = this.namesOfLabels();
    this.axes.replaceChildren(make("span", {}, view.axes[0]), make("span", {}, view.axes[1]));
    this.redraw();
  }

  reset(): void {
    this.viewport.reset();
    this.redraw();
  }

  zoom(factor: number): void {
    this.viewport.zoomAt(this.viewport.width / 2, this.viewport.height / 2, factor);
    this.redraw();
  }

  /** Show some points bright and the others faint. */
  highlight(isBright: (point: number) => boolean): void {
    this.isBright = isBright;
    this.colour();
  }

  /** Draw again in other colours, when the page has turned light or dark. */
  recolour(): void {
    this.names = this.namesOfLabels();
    this.colour();
  }

  private colour(): void {
    const { points } = this;
    const colors = new Uint8Array(4 * points.count);
    const opacity = Math.max(150, Math.min(235, 235 - 60 * Math.log10(points.count / 2000 + 1)));
    for (let i = 0; i < points.count; i++) {
      colors.set(points.labels ? colorOf(points.labels[i]) : colorOf(0), 4 * i);
      colors[4 * i + 3] = this.isBright(i) ? opacity : 18;
    }
    this.renderer.setColors(colors);
    this.redraw();
  }

  /** Draw at once; for measuring. */
  draw(): void {
    const { viewport, store } = this;
    const base = Math.max(2.2, Math.min(7, 420 / Math.sqrt(this.points.count)));
    const size = base * Math.min(3, viewport.enlargement ** 0.35);
    this.renderer.draw(viewport.camera, viewport.width, viewport.height, size);
    const { kept, shown } = store;
    const moving = shown !== kept;
    drawOverlay(
      this.overlay,
      viewport,
      {
        names: this.names,
        path: this.placed(this.path),
        picks: this.placed(this.picks),
        kept: moving ? this.placeOf(kept) : null,
        shown: this.placeOf(shown),
      },
      inkOf(this.element),
    );
  }

  private placeOf(view: { code: Float32Array; point: number | null }): [number, number] | null {
    const { places, place } = this.view;
    if (view.point !== null) return [places[2 * view.point], places[2 * view.point + 1]];
    return place ? place(view.code) : null;
  }

  private placed(codes: Float32Array[]): [number, number][] {
    const { place } = this.view;
    return place ? codes.map(place) : [];
  }

  private fitToScreen(): void {
    const { clientWidth, clientHeight } = this.element;
    this.viewport.resize(clientWidth, clientHeight);
    const ratio = Math.min(2, window.devicePixelRatio || 1);
    for (const canvas of [this.points2d, this.overlay]) {
      canvas.width = Math.round(clientWidth * ratio);
      canvas.height = Math.round(clientHeight * ratio);
    }
    this.draw();
  }

  private hover(x: number, y: number): void {
    const point = this.pointAt(x, y, REACH);
    this.store.look(this.viewAt(x, y, point));
    this.handlers.pointed(point, x, y);
  }

  private leave(): void {
    this.store.look(null);
    this.handlers.pointed(null, 0, 0);
  }

  private click(x: number, y: number, add: boolean): void {
    const point = this.pointAt(x, y, SNAP);
    const view = point !== null ? this.points.view(point) : this.viewAt(x, y, null);
    if (!view) return;
    if (add) this.handlers.add(view);
    else this.store.keep(view);
  }

  /** What to show for a place of the screen. */
  private viewAt(x: number, y: number, near: number | null): View | null {
    const { code } = this.view;
    if (!code) return near === null ? null : this.points.view(near);
    const snapped = this.points.dimensions > 2 ? this.pointAt(x, y, SNAP) : null;
    if (snapped !== null) return this.points.view(snapped);
    const { kept } = this.store;
    const [mx, my] = this.viewport.toMap(x, y);
    return { code: code(mx, my, kept.code), condition: kept.condition, point: null, origin: "a place on the map" };
  }

  private pointAt(x: number, y: number, reach: number): number | null {
    const [mx, my] = this.viewport.toMap(x, y);
    return this.grid.nearest(mx, my, reach / this.viewport.camera.zoom, this.isBright);
  }

  private namesOfLabels(): typeof this.names {
    const { labels, labelNames, count } = this.points;
    if (!labels || labelNames.length < 2 || labelNames.length > 30) return [];
    return labelNames.flatMap((text, label) => {
      const [xs, ys]: [number[], number[]] = [[], []];
      for (let i = 0; i < count; i++)
        if (labels[i] === label) {
          xs.push(this.view.places[2 * i]);
          ys.push(this.view.places[2 * i + 1]);
        }
      if (!xs.length || text.length > 16) return [];
      return [{ text, x: middle(xs), y: middle(ys), color: css(colorOf(label)) }];
    });
  }
}

const middle = (values: number[]): number => values.sort((a, b) => a - b)[values.length >> 1];

function inkOf(element: HTMLElement): { text: string; halo: string; accent: string } {
  const style = getComputedStyle(element);
  const read = (name: string): string => style.getPropertyValue(name).trim();
  return { text: read("--ink"), halo: read("--paper"), accent: read("--accent") };
}
