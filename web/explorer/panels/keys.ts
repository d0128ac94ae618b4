// Keys that work everywhere but in fields of text.

import { showRandom } from "./picture";
import { turnTheme } from "./header";
import type { Context } from "./context";
import type { MorphPanel } from "./morph";

export function keys(context: Context, morph: MorphPanel, search: HTMLInputElement): void {
  const { store, map, pick } = context;
  const acts: Record<string, () => void> = {
    "/": () => search.focus(),
    m: () => pick(store.shown),
    r: () => showRandom(context),
    p: () => morph.toggle(),
    t: () => turnTheme(context),
    "0": () => map.reset(),
    "+": () => map.zoom(1.25),
    "-": () => map.zoom(0.8),
  };
  document.addEventListener("keydown", (event) => {
    const { target } = event;
    const inText = target instanceof HTMLSelectElement || (target instanceof HTMLInputElement && target.type !== "range");
    if (event.defaultPrevented || inText || event.ctrlKey || event.metaKey || event.altKey) return;
    const act = acts[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
}
