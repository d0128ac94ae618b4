// The photo on its canvas: which part of it is seen, its marks, and the magnifier.
import type { Part, Picture, Point, Points } from "./api";

export const COLOURS: Record<Part, string> = {
  left_eye: "#56b4e9",
  right_eye: "#e69f00",
  nose: "#00b589",
  mouth: "#e08ab8",
};
const LETTERS: Record<Part, string> = { left_eye: "L", right_eye: "R", nose: "N", mouth: "M" };
const REACH = 14; // CSS pixels within which a mark is taken hold of
const LOUPE = 64; // radius in CSS pixels
const MOST = 40; // CSS pixels per pixel of the photo

export class View {
  picture: Picture | null = null;
  points: Points = {};
  /** Where the magnifier is aimed, in CSS pixels; null without one. */
  aim: Point | null = null;
  aimColour = "#fff";
  touching = false;
  private scale = 1;
  private shift: Point = [0, 0];
  private asked = false;
  private context: CanvasRenderingContext2D;

  constructor(readonly canvas: HTMLCanvasElement) {
    this.context = canvas.getContext("2d")!;
    new ResizeObserver(() => this.fit()).observe(canvas);
  }

  show(picture: Picture | null, points: Points): void {
    this.picture = picture;
    this.points = points;
    this.fit();
  }

  /** In CSS pixels, with their fractions, which clientWidth rounds. */
  private get size(): DOMRect {
    return this.canvas.getBoundingClientRect();
  }

  private get fitted(): number {
    const { width, height } = this.size;
    const picture = this.picture;
    return picture ? Math.min(width / picture.width, height / picture.height) : 1;
  }

  /** Show the whole photo. */
  fit(): void {
    const { width, height } = this.size;
    const picture = this.picture;
    this.scale = this.fitted;
    if (picture) this.shift = [(width - picture.width * this.scale) / 2, (height - picture.height * this.scale) / 2];
    this.draw();
  }

  /** Zoom about a place in CSS pixels, the middle if none is given; the whole photo is the smallest. */
  zoom(factor: number, [x, y]: Point = [this.size.width / 2, this.size.height / 2]): void {
    const scale = Math.min(Math.max(this.scale * factor, this.fitted), Math.max(MOST, this.fitted));
    const ratio = scale / this.scale;
    this.shift = [x - (x - this.shift[0]) * ratio, y - (y - this.shift[1]) * ratio];
    this.scale = scale;
    if (scale === this.fitted) this.fit();
    else this.move([0, 0]);
  }

  /** Move the photo by CSS pixels; some of it stays in view. */
  move([x, y]: Point): void {
    const { width, height } = this.size;
    if (!this.picture) return;
    const within = (at: number, length: number, room: number) =>
      length <= room ? (room - length) / 2 : Math.min(Math.max(at, room - length), 0);
    this.shift = [
      within(this.shift[0] + x, this.picture.width * this.scale, width),
      within(this.shift[1] + y, this.picture.height * this.scale, height),
    ];
    this.draw();
  }

  toPhoto([x, y]: Point): Point {
    return [(x - this.shift[0]) / this.scale, (y - this.shift[1]) / this.scale];
  }

  toScreen([x, y]: Point): Point {
    return [x * this.scale + this.shift[0], y * this.scale + this.shift[1]];
  }

  /** The place in the photo at CSS pixels; null beyond its edges. */
  inPhoto(at: Point): Point | null {
    const [x, y] = this.toPhoto(at);
    const picture = this.picture;
    return picture && x >= 0 && y >= 0 && x <= picture.width && y <= picture.height ? [x, y] : null;
  }

  /** Move a place in the photo into it. */
  clamp([x, y]: Point): Point {
    const { width, height } = this.picture ?? { width: 0, height: 0 };
    return [Math.min(Math.max(x, 0), width), Math.min(Math.max(y, 0), height)];
  }

  /** Pixels of the photo in a CSS pixel, at least one. */
  get step(): number {
    return Math.max(1, 1 / this.scale);
  }

  /** The mark near a place in CSS pixels, the nearest if there are several. */
  markAt([x, y]: Point): Part | null {
    let best: Part | null = null;
    let distance = REACH;
    for (const part of Object.keys(this.points) as Part[]) {
      const [u, v] = this.toScreen(this.points[part]!);
      if (Math.hypot(u - x, v - y) <= distance) [best, distance] = [part, Math.hypot(u - x, v - y)];
    }
    return best;
  }

  draw(): void {
    if (this.asked) return;
    this.asked = true;
    requestAnimationFrame(() => {
      this.asked = false;
      this.paint();
    });
  }

  private paint(): void {
    const { canvas, context, picture } = this;
    const { width, height } = this.size;
    const ratio = window.devicePixelRatio || 1;
    const [across, down] = [Math.max(1, Math.round(width * ratio)), Math.max(1, Math.round(height * ratio))];
    if (canvas.width !== across || canvas.height !== down) [canvas.width, canvas.height] = [across, down];
    context.setTransform(across / width, 0, 0, down / height, 0, 0);
    context.clearRect(0, 0, width, height);
    if (!picture) return;
    this.photo(this.shift, this.scale);
    this.marks((point) => this.toScreen(point), 7);
    if (this.aim && this.inPhoto(this.aim)) this.loupe(this.aim);
  }

  private photo([x, y]: Point, scale: number): void {
    const { bitmap, width, height } = this.picture!;
    this.context.imageSmoothingQuality = "high";
    this.context.imageSmoothingEnabled = (scale * width) / bitmap.width < 6;
    this.context.drawImage(bitmap, x, y, width * scale, height * scale);
  }

  private marks(place: (point: Point) => Point, radius: number): void {
    const { context } = this;
    context.font = "600 12px system-ui, sans-serif";
    context.lineJoin = "round";
    for (const part of Object.keys(this.points) as Part[]) {
      const [x, y] = place(this.points[part]!);
      for (const [colour, width] of [["#000", 4], [COLOURS[part], 2]] as const) {
        context.strokeStyle = colour;
        context.lineWidth = width;
        context.beginPath();
        context.arc(x, y, radius, 0, 2 * Math.PI);
        context.moveTo(x - 2, y);
        context.lineTo(x + 2, y);
        context.moveTo(x, y - 2);
        context.lineTo(x, y + 2);
        context.stroke();
      }
      context.strokeStyle = "#000";
      context.lineWidth = 3;
      context.strokeText(LETTERS[part], x + radius + 3, y - radius + 2);
      context.fillStyle = COLOURS[part];
      context.fillText(LETTERS[part], x + radius + 3, y - radius + 2);
    }
  }

  private loupe([x, y]: Point): void {
    const { context } = this;
    const { width } = this.size;
    const away = this.touching ? LOUPE + 50 : LOUPE + 22;
    // Beside a mouse pointer, above a finger; where there is no room, on the other side.
    let [u, v] = this.touching ? [x, y - away] : [x + away, y - away / 2];
    if (v < LOUPE) v = this.touching && y < 2 * LOUPE ? LOUPE : y + away;
    if (this.touching && v === LOUPE) u = x + (x < width / 2 ? away : -away);
    if (u > width - LOUPE) u = x - away;
    u = Math.min(Math.max(u, LOUPE), width - LOUPE);
    const scale = Math.min(3 * this.scale, Math.max(8, this.scale));
    const [px, py] = this.toPhoto([x, y]);
    context.save();
    context.beginPath();
    context.arc(u, v, LOUPE, 0, 2 * Math.PI);
    context.fillStyle = "#808080";
    context.fill();
    context.clip();
    this.photo([u - px * scale, v - py * scale], scale);
    this.marks(([a, b]) => [u + (a - px) * scale, v + (b - py) * scale], 10);
    for (const [colour, width] of [["#000a", 3], ["#fff", 1]] as const) {
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.beginPath();
      for (const [a, b] of [[1, 0], [-1, 0], [0, 1], [0, -1]] as const) {
        context.moveTo(u + 5 * a, v + 5 * b);
        context.lineTo(u + LOUPE * a, v + LOUPE * b);
      }
      context.stroke();
    }
    context.restore();
    for (const [colour, width] of [["#000", 5], [this.aimColour, 3]] as const) {
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.beginPath();
      context.arc(u, v, LOUPE, 0, 2 * Math.PI);
      context.stroke();
    }
  }
}
