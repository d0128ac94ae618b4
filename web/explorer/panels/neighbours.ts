// The examples whose codes are nearest to the code that is shown.

import { eachFrame, make } from "../shared/dom";
import { short } from "../shared/format";
import { smallPicture, type Context, type Panel } from "./context";

const COUNT = 12;

export function neighbourPanel(context: Context): Panel {
  const { points, store } = context;
  const list = make("ol", { class: "neighbours" });
  const element = make(
    "div",
    {},
    make("p", { class: "note" }, "Examples with the nearest codes, and their distances in the latent space."),
    list,
  );
  const update = eachFrame(() => {
    if (!element.isConnected) return;
    const { code, point } = store.kept;
    list.replaceChildren(
      ...points.nearest(code, COUNT, point).map((found) => {
        const view = points.view(found.point);
        const label = points.label(found.point);
        const words = make("span", {}, label ? `${label} · ${short(found.distance)}` : short(found.distance));
        const title = `${view.origin}${label ? `, ${label}` : ""}: show it`;
        const button = make("button", { class: "plain", title }, smallPicture(context, view), words);
        button.addEventListener("click", () => store.keep(view));
        return make("li", {}, button);
      }),
    );
  });
  store.on("kept", update);
  return { title: "Neighbours", element, opened: update };
}
