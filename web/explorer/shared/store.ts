// What the page shows now: a code that stays, and one that is only looked at while the pointer moves.

export interface View {
  code: Float32Array;
  condition: Float32Array | null;
  /** The example on the map whose code it is, if it is one. */
  point: number | null;
  /** Where it comes from, in words. */
  origin: string;
}

type Listener = () => void;

export class Store {
  private preview: View | null = null;
  private readonly listeners: Record<"shown" | "kept", Set<Listener>> = { shown: new Set(), kept: new Set() };

  constructor(private stays: View) {}

  /** The view that stays. */
  get kept(): View {
    return this.stays;
  }

  /** The view to draw. */
  get shown(): View {
    return this.preview ?? this.stays;
  }

  /** Call a function when what is drawn changes, or only when what stays changes. */
  on(event: "shown" | "kept", listener: Listener): void {
    this.listeners[event].add(listener);
  }

  keep(view: View): void {
    this.stays = view;
    this.preview = null;
    this.tell("kept");
    this.tell("shown");
  }

  /** Keep a changed code, with the condition that there is. */
  keepCode(code: Float32Array, origin: string): void {
    this.keep({ code, condition: this.stays.condition, point: null, origin });
  }

  look(view: View | null): void {
    if (view === null && this.preview === null) return;
    this.preview = view;
    this.tell("shown");
  }

  private tell(event: "shown" | "kept"): void {
    for (const listener of this.listeners[event]) listener();
  }
}
