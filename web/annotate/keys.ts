// What keys do, wherever the focus is; on buttons and switches, Enter and Space are theirs.

const WAYS: Record<string, [number, number]> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};

/** Call the action of a key, named as in KeyboardEvent.key in lower case; with Shift, arrows nudge. */
export function onKeys(actions: Record<string, () => void>, nudge: (x: number, y: number) => void): void {
  document.addEventListener("keydown", (event) => {
    const target = event.target as HTMLElement;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (target.closest("button, summary, input") && ["Enter", " "].includes(event.key)) return;
    const way = WAYS[event.key];
    if (way && target.closest("input[type=range]")) return;
    const action = event.shiftKey && way ? () => nudge(...way) : actions[event.key.toLowerCase()];
    if (!action) return;
    event.preventDefault();
    if (!event.repeat || way) action();
  });
}
