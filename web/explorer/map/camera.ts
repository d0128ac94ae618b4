// Which part of the map is on the screen: fit, zoom, pan.

import type { Camera } from "./renderer";

export class Viewport {
  width = 1;
  height = 1;
  camera: Camera = { x: 0, y: 0, zoom: 1 };
  private home: Camera = { x: 0, y: 0, zoom: 1 };
  private extent: [number, number, number, number] = [-1, -1, 1, 1];

  /** Show all places, except single ones far away. */
  fit(places: Float32Array): void {
    const axis = (which: number): Float32Array =>
      Float32Array.from({ length: places.length / 2 }, (_, i) => places[2 * i + which]).sort();
    const [xs, ys] = [axis(0), axis(1)];
    const cut = Math.floor(xs.length * 0.001);
    this.extent = [xs[cut] ?? -1, ys[cut] ?? -1, xs[xs.length - 1 - cut] ?? 1, ys[ys.length - 1 - cut] ?? 1];
    this.refit();
    this.reset();
  }

  resize(width: number, height: number): void {
    const atHome = this.camera.zoom === this.home.zoom && this.camera.x === this.home.x;
    this.width = Math.max(1, width);
    this.height = Math.max(1, height);
    this.refit();
    if (atHome) this.reset();
  }

  reset(): void {
    this.camera = { ...this.home };
  }

  private refit(): void {
    const [left, below, right, above] = this.extent;
    const across = Math.max(right - left, 1e-6);
    const up = Math.max(above - below, 1e-6);
    const margin = Math.min(48, 0.1 * Math.min(this.width, this.height));
    const zoom = Math.min((this.width - 2 * margin) / across, (this.height - 2 * margin) / up);
    this.home = { x: (left + right) / 2, y: (below + above) / 2, zoom: Math.max(zoom, 1e-6) };
  }

  toMap(x: number, y: number): [number, number] {
    const { camera, width, height } = this;
    return [(x - width / 2) / camera.zoom + camera.x, (height / 2 - y) / camera.zoom + camera.y];
  }

  toScreen(x: number, y: number): [number, number] {
    const { camera, width, height } = this;
    return [(x - camera.x) * camera.zoom + width / 2, height / 2 - (y - camera.y) * camera.zoom];
  }

  /** Zoom so that what is under a point of the screen stays there. */
  zoomAt(x: number, y: number, factor: number): void {
    const [mx, my] = this.toMap(x, y);
    const most = 400 * this.home.zoom;
    this.camera.zoom = Math.min(most, Math.max(this.home.zoom / 4, this.camera.zoom * factor));
    this.camera.x = mx - (x - this.width / 2) / this.camera.zoom;
    this.camera.y = my - (this.height / 2 - y) / this.camera.zoom;
  }

  pan(dx: number, dy: number): void {
    this.camera.x -= dx / this.camera.zoom;
    this.camera.y += dy / this.camera.zoom;
  }

  /** How much the map is enlarged. */
  get enlargement(): number {
    return this.camera.zoom / this.home.zoom;
  }
}
