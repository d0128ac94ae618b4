// Thumbnails: sheets of small pictures, each decoded when it is first needed.

import type { Arrays } from "./arrays";
import type { AtlasFacts } from "./facts";

export class Thumbnails {
  private readonly sheets = new Map<number, Promise<ImageBitmap>>();

  constructor(
    private readonly facts: AtlasFacts,
    private readonly arrays: Arrays,
  ) {}

  has(point: number): boolean {
    return point < this.facts.count;
  }

  /** Draw the thumbnail of a point so that it fills a canvas. */
  async draw(point: number, canvas: HTMLCanvasElement): Promise<void> {
    const { columns, perSheet, width, height } = this.facts;
    canvas.width = width;
    canvas.height = height;
    const sheet = await this.sheet(Math.floor(point / perSheet));
    const place = point % perSheet;
    const [x, y] = [(place % columns) * width, Math.floor(place / columns) * height];
    canvas.getContext("2d")?.drawImage(sheet, x, y, width, height, 0, 0, width, height);
  }

  private sheet(number: number): Promise<ImageBitmap> {
    let found = this.sheets.get(number);
    if (!found) {
      const file = this.arrays.file(this.facts.sheets[number]);
      found = createImageBitmap(new Blob([file], { type: "image/webp" }));
      this.sheets.set(number, found);
    }
    return found;
  }
}
