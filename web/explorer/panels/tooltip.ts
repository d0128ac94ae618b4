// What is known of the point under the pointer.

import { make } from "../shared/dom";
import type { Facts } from "../shared/facts";
import type { Model } from "../model/model";
import type { Points } from "../shared/points";
import type { Thumbnails } from "../shared/thumbnails";
import { paintDecoded } from "./context";

export class Tooltip {
  readonly element = make("div", { class: "tooltip", hidden: true });
  private readonly picture = make("canvas", { class: "small" });
  private readonly label = make("strong", {});
  private readonly name = make("span", {});
  private point: number | null = null;

  constructor(
    readonly facts: Facts,
    private readonly points: Points,
    readonly model: Model,
    private readonly thumbnails: Thumbnails | null,
  ) {
    this.element.append(this.picture, make("div", {}, this.label, this.name));
  }

  show(point: number | null, x: number, y: number): void {
    this.element.hidden = point === null;
    if (point === null) {
      this.point = null;
      return;
    }
    const parent = this.element.parentElement!;
    const right = x < parent.clientWidth / 2;
    const style = this.element.style;
    style.left = right ? `${x + 16}px` : "";
    style.right = right ? "" : `${parent.clientWidth - x + 16}px`;
    if (point !== this.point) this.describe(point);
    const height = Math.max(76, this.element.offsetHeight);
    style.top = `${Math.max(4, Math.min(y - 24, parent.clientHeight - height - 4))}px`;
  }

  private describe(point: number): void {
    this.point = point;
    this.label.textContent = this.points.label(point);
    this.name.textContent = this.points.name(point);
    if (this.thumbnails?.has(point)) void this.thumbnails.draw(point, this.picture);
    else if (this.facts.shape.length === 3) void paintDecoded(this, this.points.view(point), this.picture);
    else this.picture.hidden = true;
  }
}
