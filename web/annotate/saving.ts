// Marks on their way to the file: one after the other, and none is forgotten.
import { ApiError, save, type Photo, type Points } from "./api";

type Answer = Photo & { template: string };

export class Saving {
  private waiting = new Map<number, Points | null>();
  private running = false;
  private broken = false;

  constructor(
    private onSaved: (photo: Answer) => void,
    private onFailed: (photo: number, reason: string, refused: boolean) => void,
  ) {}

  /** Whether marks are on their way or could not be saved. */
  get pending(): boolean {
    return this.waiting.size > 0;
  }

  add(photo: number, points: Points | null): void {
    this.waiting.set(photo, points);
    void this.run();
  }

  retry(): void {
    void this.run();
  }

  private async run(): Promise<void> {
    if (this.running) return;
    this.running = true;
    this.broken = false;
    while (this.waiting.size && !this.broken) {
      const [photo, points] = this.waiting.entries().next().value as [number, Points | null];
      try {
        const answer = await save(photo, points);
        if (this.waiting.get(photo) === points) this.waiting.delete(photo); // else it was changed meanwhile
        this.onSaved(answer);
      } catch (error) {
        const refused = error instanceof ApiError && error.refused;
        if (refused) this.waiting.delete(photo);
        else this.broken = true;
        this.onFailed(photo, error instanceof Error ? error.message : String(error), refused);
      }
    }
    this.running = false;
  }
}
