// Mouse, pen and fingers on the canvas: placing and moving marks, moving and zooming the photo.
import type { Part, Point } from "./api";
import type { View } from "./view";

export interface Actions {
  place(point: Point): void;
  drag(part: Part, point: Point, first: boolean): void;
  dropped(): void;
  /** Whether the magnifier is wanted. */
  magnifies(): boolean;
}

export function listen(view: View, actions: Actions): void {
  const { canvas } = view;
  const fingers = new Map<number, Point>();
  let held: Part | null = null;
  let moved = false;
  let mode: "none" | "aim" | "hold" | "pan" | "pinch" = "none";

  const at = (event: PointerEvent | WheelEvent): Point => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const aim = (event: PointerEvent, on: boolean) => {
    view.touching = event.pointerType === "touch";
    view.aim = on && (actions.magnifies() || view.touching) ? at(event) : null;
    view.draw();
  };

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    canvas.focus({ preventScroll: true });
    fingers.set(event.pointerId, at(event));
    event.preventDefault();
    moved = false;
    if (fingers.size > 1) mode = "pinch";
    else if (event.button !== 0 || event.shiftKey) mode = "pan";
    else {
      held = view.markAt(at(event));
      mode = held ? "hold" : "aim";
    }
    aim(event, mode === "aim" || mode === "hold");
  });

  canvas.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    const now = at(event);
    if (!before) {
      canvas.classList.toggle("grab", view.markAt(now) !== null);
      aim(event, true);
      return;
    }
    const by: Point = [now[0] - before[0], now[1] - before[1]];
    if (mode === "pan") view.move(by);
    if (mode === "pinch") pinch(event.pointerId, before, now);
    if (mode === "hold" && held && (by[0] || by[1])) {
      actions.drag(held, view.clamp(view.toPhoto(now)), !moved);
      moved = true;
    }
    fingers.set(event.pointerId, now);
    aim(event, mode === "aim" || mode === "hold");
  });

  function pinch(id: number, before: Point, now: Point): void {
    const other = [...fingers].find(([one]) => one !== id)?.[1];
    if (!other) return;
    const length = (point: Point) => Math.max(10, Math.hypot(point[0] - other[0], point[1] - other[1]));
    view.zoom(length(now) / length(before), [(now[0] + other[0]) / 2, (now[1] + other[1]) / 2]);
    view.move([(now[0] - before[0]) / 2, (now[1] - before[1]) / 2]);
  }

  const end = (event: PointerEvent, placed: boolean) => {
    if (!fingers.delete(event.pointerId)) return;
    const point = view.inPhoto(at(event));
    if (placed && mode === "aim" && point) actions.place(point);
    if (mode === "hold" && moved) actions.dropped();
    if (!fingers.size) mode = "none";
    aim(event, event.pointerType === "mouse" && mode === "none");
  };
  canvas.addEventListener("pointerup", (event) => end(event, true));
  canvas.addEventListener("pointercancel", (event) => end(event, false));
  canvas.addEventListener("pointerleave", (event) => aim(event, false));
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 20 : 1;
      view.zoom(Math.exp(-Math.max(-200, Math.min(200, event.deltaY * lines)) / 300), at(event));
    },
    { passive: false },
  );
}
