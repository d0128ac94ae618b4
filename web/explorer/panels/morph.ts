// A morph through the points that were picked: played, scrubbed, and kept as a GIF or a strip.

import { make, menu, save } from "../shared/dom";
import { whole } from "../shared/format";
import { pixelsOf } from "../shared/paint";
import type { View } from "../shared/store";
import { smallPicture, type Context, type Panel } from "./context";
import { encodeGif } from "./gif";
import { framesThrough } from "./path";

const DEFAULT_STEPS = 25; // as of `elboroom morph`
const MILLISECONDS = 60;
const HOLD = 8; // frames that the first and the last stay for while it plays

export class MorphPanel implements Panel {
  readonly title = "Morph";
  readonly element: HTMLElement;
  frames: View[] = [];
  private readonly picks: View[] = [];
  private readonly list = make("ol", { class: "picks" });
  private readonly controls: HTMLElement;
  private readonly scrub = make("input", { type: "range", min: 0, max: 0, value: 0, "aria-label": "Frame" });
  private readonly place = make("output", {});
  private readonly steps: HTMLInputElement;
  private readonly playing: HTMLButtonElement;
  private round = false;
  private timer = 0;
  private clock = 0;

  constructor(private readonly context: Context) {
    const attributes = { type: "number", min: 2, max: 200, value: DEFAULT_STEPS, "aria-label": "Frames from point to point" };
    this.steps = make("input", { ...attributes, change: () => this.update() });
    this.playing = make("button", { class: "main", click: () => this.toggle() }, "Play");
    this.scrub.addEventListener("input", () => this.go(Number(this.scrub.value)));
    const paths = menu("Path", ["straight path", "spherical path"], (i) => {
      this.round = i === 1;
      this.update();
    });
    const gif = make("button", { click: () => void this.saveGif() }, "Save GIF");
    const strip = make("button", { click: () => void this.saveStrip() }, "Save strip");
    const isImage = context.facts.shape.length === 3;
    this.controls = make(
      "div",
      { class: "stack", hidden: true },
      make("div", { class: "line" }, this.playing, this.scrub, this.place),
      make("div", { class: "line" }, make("label", {}, this.steps, " frames each"), context.facts.sphere ? null : paths),
      make("div", { class: "line" }, isImage ? gif : null, isImage ? strip : null, make("button", { click: () => this.clear() }, "Clear")),
    );
    const note = "Pick two or more points: shift-click on the map, or “Add to morph”.";
    this.element = make("div", {}, make("p", { class: "note" }, note), this.list, this.controls);
  }

  add(view: View): void {
    this.picks.push(view);
    this.update();
  }

  clear(): void {
    this.picks.length = 0;
    this.update();
  }

  toggle(): void {
    if (this.timer) this.stop();
    else if (this.frames.length) this.play();
  }

  private update(): void {
    this.stop();
    const steps = Math.round(Math.min(200, Math.max(2, Number(this.steps.value) || DEFAULT_STEPS)));
    this.frames = this.picks.length > 1 ? framesThrough(this.picks, steps, this.round) : [];
    this.list.replaceChildren(
      ...this.picks.map((view, i) => {
        const remove = make("button", { class: "plain", "aria-label": `Remove point ${i + 1}`, title: "Remove" }, "×");
        remove.addEventListener("click", () => {
          this.picks.splice(i, 1);
          this.update();
        });
        return make("li", { title: view.origin }, smallPicture(this.context, view), remove);
      }),
    );
    this.controls.hidden = !this.frames.length;
    this.scrub.max = String(Math.max(0, this.frames.length - 1));
    this.scrub.value = "0";
    this.tellPlace(0);
    this.context.map.path = this.frames.map(({ code }) => code);
    this.context.map.picks = this.picks.map(({ code }) => code);
    this.context.map.redraw();
  }

  private go(frame: number): void {
    this.context.store.look(this.frames[frame]);
    this.tellPlace(frame);
  }

  private tellPlace(frame: number): void {
    this.place.textContent = this.frames.length ? `${frame + 1} / ${whole(this.frames.length)}` : "";
  }

  private play(): void {
    this.playing.textContent = "Pause";
    this.clock = Number(this.scrub.value) === this.frames.length - 1 ? -HOLD : Number(this.scrub.value);
    this.timer = window.setInterval(() => {
      const last = this.frames.length - 1;
      const frame = Math.min(last, Math.max(0, this.clock));
      this.scrub.value = String(frame);
      this.go(frame);
      this.clock = this.clock >= last + HOLD ? -HOLD : this.clock + 1;
    }, MILLISECONDS);
  }

  private stop(): void {
    window.clearInterval(this.timer);
    this.timer = 0;
    this.playing.textContent = "Play";
  }

  /** The pictures of all frames. */
  async images(): Promise<ImageData[]> {
    const { model, facts } = this.context;
    const decoded = await Promise.all(this.frames.map(({ code, condition }) => model.decoded(code, condition)));
    return decoded.map((x) => pixelsOf(x, facts.shape, facts.valueRange));
  }

  private async saveGif(): Promise<void> {
    const images = await this.images();
    const scale = Math.max(1, Math.round(256 / images[0].width));
    const bytes = encodeGif(images, scale, MILLISECONDS, 10 * MILLISECONDS);
    save(new Blob([bytes], { type: "image/gif" }), "morph.gif");
  }

  private async saveStrip(): Promise<void> {
    const images = await this.images();
    const { width, height } = images[0];
    const canvas = make("canvas", { width: width * images.length, height });
    const context = canvas.getContext("2d")!;
    images.forEach((image, i) => context.putImageData(image, i * width, 0));
    canvas.toBlob((blob) => blob && save(blob, "morph.png"), "image/png");
  }
}
