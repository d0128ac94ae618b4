// Photos that are shown or will be next, fetched ahead of need.
import { getPicture, type Picture } from "./api";

export class Pictures {
  private held = new Map<number, Promise<Picture>>();

  constructor(private side: number) {}

  get(photo: number): Promise<Picture> {
    const known = this.held.get(photo);
    if (known) return known;
    const loading = getPicture(photo, this.side);
    this.held.set(photo, loading);
    loading.catch(() => {
      if (this.held.get(photo) === loading) this.held.delete(photo); // asking again may help
    });
    return loading;
  }

  /** Let go of all photos but these, and fetch those of them that are missing. */
  keep(photos: number[]): void {
    for (const [photo, loading] of this.held) {
      if (photos.includes(photo)) continue;
      this.held.delete(photo);
      loading.then((picture) => picture.bitmap.close()).catch(() => {});
    }
    for (const photo of photos) this.get(photo).catch(() => {});
  }
}
