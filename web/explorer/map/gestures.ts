// Pointer, touch and keys on the map, turned into what they mean.

import type { Viewport } from "./camera";

export interface Meaning {
  /** The view has changed. */
  moved(): void;
  /** The pointer is over a place of the screen. */
  hover(x: number, y: number): void;
  left(): void;
  /** A click or tap; `add` with the shift key. */
  click(x: number, y: number, add: boolean): void;
}

const STEP = 60; // pixels that an arrow key moves the map by
const STILL = 6; // pixels that a click may move

export function listen(target: HTMLElement, viewport: Viewport, meaning: Meaning): void {
  const pointers = new Map<number, { x: number; y: number }>();
  let travelled = 0;
  let pinched = false;

  const at = (event: MouseEvent): { x: number; y: number } => {
    const box = target.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  };

  target.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    target.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, at(event));
    if (pointers.size === 1) [travelled, pinched] = [0, false];
    else pinched = true;
  });

  target.addEventListener("pointermove", (event) => {
    const now = at(event);
    const before = pointers.get(event.pointerId);
    if (!before) {
      meaning.hover(now.x, now.y);
      return;
    }
    const other = [...pointers].find(([id]) => id !== event.pointerId)?.[1];
    travelled += Math.hypot(now.x - before.x, now.y - before.y);
    if (other) {
      const [was, is] = [before, now].map((p) => Math.hypot(p.x - other.x, p.y - other.y));
      viewport.zoomAt((now.x + other.x) / 2, (now.y + other.y) / 2, is / Math.max(1, was));
      viewport.pan((now.x - before.x) / 2, (now.y - before.y) / 2);
    } else if (travelled > STILL) {
      viewport.pan(now.x - before.x, now.y - before.y);
    }
    pointers.set(event.pointerId, now);
    meaning.moved();
  });

  const end = (event: PointerEvent): void => {
    if (!pointers.delete(event.pointerId)) return;
    const { x, y } = at(event);
    if (event.type === "pointerup" && travelled <= STILL && !pinched && pointers.size === 0)
      meaning.click(x, y, event.shiftKey);
  };
  target.addEventListener("pointerup", end);
  target.addEventListener("pointercancel", end);
  target.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && meaning.left());

  target.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      const { x, y } = at(event);
      const lines = event.deltaMode === 1 ? 30 : 1;
      viewport.zoomAt(x, y, Math.exp(-0.0015 * lines * event.deltaY));
      meaning.moved();
    },
    { passive: false },
  );

  const keys: Record<string, () => void> = {
    ArrowLeft: () => viewport.pan(STEP, 0),
    ArrowRight: () => viewport.pan(-STEP, 0),
    ArrowUp: () => viewport.pan(0, STEP),
    ArrowDown: () => viewport.pan(0, -STEP),
    "+": () => viewport.zoomAt(viewport.width / 2, viewport.height / 2, 1.25),
    "=": () => viewport.zoomAt(viewport.width / 2, viewport.height / 2, 1.25),
    "-": () => viewport.zoomAt(viewport.width / 2, viewport.height / 2, 0.8),
    "0": () => viewport.reset(),
  };
  target.addEventListener("keydown", (event) => {
    const act = keys[event.key];
    if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    act();
    meaning.moved();
  });
}
