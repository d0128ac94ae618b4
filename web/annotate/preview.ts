// The face as it will be cut out; asked again whenever a mark changes.
import { getCrop, type Points } from "./api";

export class Preview {
  private asked = new AbortController();

  constructor(
    private image: HTMLImageElement,
    private note: HTMLElement,
  ) {}

  /** Show no face, but a sentence. */
  none(text: string, warn = false): void {
    this.asked.abort();
    this.show(null, text, warn);
  }

  /** Ask for a face, and say whether there is one to be cut out. */
  async update(photo: number, points: Points, template: () => string): Promise<boolean> {
    this.asked.abort();
    const asked = (this.asked = new AbortController());
    try {
      const crop = await getCrop(photo, points, asked.signal);
      if (asked.signal.aborted) return false;
      this.show(URL.createObjectURL(crop), `aligned as a ${template() === "dog" ? "dog's" : "person's"} face`, false);
      return true;
    } catch (error) {
      if (asked.signal.aborted) return false;
      this.show(null, `The photo ${error instanceof Error ? error.message : error}.`, true);
      return false;
    }
  }

  private show(address: string | null, text: string, warn: boolean): void {
    if (this.image.src.startsWith("blob:")) URL.revokeObjectURL(this.image.src);
    if (address) this.image.src = address;
    else this.image.removeAttribute("src");
    this.image.hidden = !address;
    this.note.textContent = text;
    this.note.classList.toggle("warn", warn);
  }
}
