// Finds the point nearest to a place on the map, by a grid of cells.

export class Grid {
  private readonly starts: Int32Array;
  private readonly order: Int32Array;
  private readonly side: number;
  private readonly low: [number, number] = [Infinity, Infinity];
  private readonly cell: number;

  constructor(private readonly places: Float32Array) {
    const count = places.length / 2;
    const high: [number, number] = [-Infinity, -Infinity];
    for (let i = 0; i < places.length; i++) {
      this.low[i % 2] = Math.min(this.low[i % 2], places[i]);
      high[i % 2] = Math.max(high[i % 2], places[i]);
    }
    this.side = Math.max(1, Math.min(512, Math.ceil(Math.sqrt(count / 2))));
    this.cell = Math.max(high[0] - this.low[0], high[1] - this.low[1], 1e-9) / this.side;
    const cells = new Int32Array(count);
    this.starts = new Int32Array(this.side * this.side + 1);
    for (let i = 0; i < count; i++) {
      cells[i] = this.cellOf(places[2 * i], 0) + this.side * this.cellOf(places[2 * i + 1], 1);
      this.starts[cells[i] + 1]++;
    }
    for (let i = 0; i < this.side * this.side; i++) this.starts[i + 1] += this.starts[i];
    const next = this.starts.slice();
    this.order = new Int32Array(count);
    for (let i = 0; i < count; i++) this.order[next[cells[i]]++] = i;
  }

  /** The nearest point within a radius that is allowed, or null. */
  nearest(x: number, y: number, radius: number, allowed: (point: number) => boolean): number | null {
    const [left, right] = [this.cellOf(x - radius, 0), this.cellOf(x + radius, 0)];
    const [below, above] = [this.cellOf(y - radius, 1), this.cellOf(y + radius, 1)];
    let best = radius * radius;
    let found: number | null = null;
    for (let row = below; row <= above; row++)
      for (let column = left; column <= right; column++) {
        const cell = row * this.side + column;
        for (let k = this.starts[cell]; k < this.starts[cell + 1]; k++) {
          const point = this.order[k];
          const square = (this.places[2 * point] - x) ** 2 + (this.places[2 * point + 1] - y) ** 2;
          if (square <= best && allowed(point)) {
            best = square;
            found = point;
          }
        }
      }
    return found;
  }

  private cellOf(value: number, axis: 0 | 1): number {
    return Math.max(0, Math.min(this.side - 1, Math.floor((value - this.low[axis]) / this.cell)));
  }
}
